//! Patterns of KEYS and SCAN: `*`, `?`, `[a-c]`, `[^x]` and a backslash before a literal byte. The
//! key commands match every key of the store against one pattern that a client chose. So it must
//! not be possible to make it slow: a failed match goes back to the last star only, never further.

/// Whether the whole of `text` fits `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit: behind the star, one byte of
    // text later.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        if t < text.len()
            && let Some(length) = matches_one(&pattern[p..], text[t])
        {
            p += length;
            t += 1;
            continue;
        }
        match retry {
            Some((after, from)) if from < text.len() => {
                (p, t) = (after, from + 1);
                retry = Some((after, from + 1));
            }
            _ => return false,
        }
    }
}

/// Matches one byte against the first item of the pattern; the item's length when it fits.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    let (fits, length) = match *pattern {
        [] => return None,
        [b'?', ..] => (true, 1),
        [b'\\', literal, ..] => (literal == byte, 2),
        [b'[', ref class @ ..] => {
            let (fits, length) = matches_class(class, byte);
            (fits, length + 1)
        }
        [literal, ..] => (literal == byte, 1),
    };
    fits.then_some(length)
}

/// The part of `[...]` behind its bracket: whether the byte is in it, and how long it is.
fn matches_class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class[at..] {
            // An open class ends with the pattern.
            [] => return (found != negated, at),
            [b']', ..] => return (found != negated, at + 1),
            [b'\\', literal, ..] => {
                found |= literal == byte;
                at += 2;
            }
            [low, b'-', high, ..] if high != b']' => {
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
}
