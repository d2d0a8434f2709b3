//! The parts that know nothing of keys: parser, patterns, numbers, and the sorted set by itself.
//! The parser gets every input whole, byte by byte and cut at every place, with the same result
//! each time. It must refuse what is broken or too long, and must never allocate what has only been
//! announced.

use bytes::BytesMut;

use crate::server::glob;
use crate::server::reply::format_score;
use crate::server::request::{Limits, ProtocolError, Request, RequestParser, parse_integer};
use crate::server::sorted_set::{Limit, Score, SortedSet};
use crate::{LARGEST, words};

/// Small enough that tests can go over them.
const LIMITS: Limits = Limits { argument: 100, arguments: 8, request: 250, inline: 60 };

/// Everything that comes out of these bytes, fed in pieces that end at the given places.
fn parse(bytes: &[u8], ends: &[usize]) -> Result<Vec<Request>, ProtocolError> {
    let mut parser = RequestParser::new(LIMITS);
    let (mut input, mut requests, mut start) = (BytesMut::new(), Vec::new(), 0);
    for &end in ends.iter().chain([&bytes.len()]) {
        input.extend_from_slice(&bytes[start..end]);
        start = end;
        while let Some(request) = parser.next(&mut input)? {
            requests.push(request);
        }
    }
    Ok(requests)
}

/// The same result however the bytes are cut.
fn parse_every_way(bytes: &[u8]) -> Result<Vec<Request>, ProtocolError> {
    let whole = parse(bytes, &[]);
    let single: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(parse(bytes, &single), whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in 0..bytes.len() {
        assert_eq!(parse(bytes, &[cut]), whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

#[test]
fn requests_are_the_same_however_they_arrive() {
    let long = format!("*2\r\n$3\r\nGET\r\n$100\r\n{}\r\n", "x".repeat(100));
    let cases: &[(&str, &[&[&str]])] = &[
        ("", &[]),
        ("*1\r\n$4\r\nPING\r\n", &[&["PING"]]),
        ("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &[&["GET", ""]]),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n",
            &[&["SET", "k", "\r\n\r\n"], &["PING"]],
        ),
        ("*0\r\n*-1\r\nPING\r\n", &[&["PING"]]),
        ("PING\r\nPING\n\r\n  \r\n GET  k \r\n", &[&["PING"], &["PING"], &["GET", "k"]]),
        (r#"SET k "a \"b\"\n\x41\q""#, &[]),
        ("SET k \"a \\\"b\\\"\\n\\x41\\q\\xzz\"\r\n", &[&["SET", "k", "a \"b\"\nAqxzz"]]),
        ("SET 'it\\'s' '' \"\"\n", &[&["SET", "it's", "", ""]]),
        (
            "GET k\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nGET k\r\n",
            &[&["GET", "k"], &["GET", "k"], &["GET", "k"]],
        ),
        (&long, &[&["GET", &"x".repeat(100)]]),
        ("*2\r\n$3\r\nGET\r\n$5\r\nab", &[]),
    ];
    for (bytes, expected) in cases {
        let expected: Vec<Request> = expected.iter().map(|request| words(request)).collect();
        assert_eq!(parse_every_way(bytes.as_bytes()), Ok(expected), "{}", bytes.escape_debug());
    }
}

#[test]
fn broken_framing_is_an_error() {
    let endless = "x".repeat(70);
    let cases: &[(&str, ProtocolError)] = &[
        ("*x\r\n", ProtocolError::ArgumentCount),
        ("*\r\n", ProtocolError::ArgumentCount),
        ("*+1\r\n", ProtocolError::ArgumentCount),
        ("*01\r\n", ProtocolError::ArgumentCount),
        ("*1\n", ProtocolError::ArgumentCount),
        ("*9\r\n", ProtocolError::ArgumentCount),
        ("*99999999999999999999\r\n", ProtocolError::ArgumentCount),
        ("*1\r\nPING\r\n", ProtocolError::ExpectedArgument(b'P')),
        ("*1\r\n$-1\r\n", ProtocolError::ArgumentLength),
        ("*1\r\n$101\r\n", ProtocolError::ArgumentLength),
        ("*1\r\n$9223372036854775807\r\n", ProtocolError::ArgumentLength),
        ("*1\r\n$9223372036854775808\r\n", ProtocolError::ArgumentLength),
        ("*1\r\n$4\r\nPINGxx", ProtocolError::ExpectedLineEnd),
        ("*1\r\n$0000000000000000000000000000000000000004\r\n", ProtocolError::LongLength),
        ("*1000000000000000000000000000000000000000000\r\n", ProtocolError::LongLength),
        ("GET \"k\r\n", ProtocolError::Quotes),
        ("GET 'k\r\n", ProtocolError::Quotes),
        ("GET \"k\"x\r\n", ProtocolError::Quotes),
        (&endless, ProtocolError::LongInline),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            parse_every_way(bytes.as_bytes()),
            Err(expected.clone()),
            "{}",
            bytes.escape_debug()
        );
    }
    let mut three = String::from("*3\r\n");
    for _ in 0..3 {
        three += &format!("$90\r\n{}\r\n", "x".repeat(90));
    }
    assert_eq!(parse_every_way(three.as_bytes()), Err(ProtocolError::LongRequest));
}

#[test]
fn announced_bytes_are_not_allocated() {
    for announced in
        ["*65536\r\n", "*65536\r\n$16777216\r\n", "*2\r\n$3\r\nGET\r\n$16777216\r\nabc"]
    {
        let mut input = BytesMut::from(announced);
        let mut parser = RequestParser::new(Limits::DEFAULT);
        LARGEST.set(0);
        assert_eq!(parser.next(&mut input), Ok(None));
        assert!(
            LARGEST.get() <= 32 << 10,
            "{} bytes for {}",
            LARGEST.get(),
            announced.escape_debug()
        );
    }
    // With its bytes there, an argument takes twice their length at the most, and its own length at
    // the end.
    let mut parser = RequestParser::new(Limits::DEFAULT);
    let mut input = BytesMut::from("*1\r\n$1000000\r\n");
    LARGEST.set(0);
    for _ in 0..100 {
        assert_eq!(parser.next(&mut input), Ok(None));
        input.extend_from_slice(&[b'x'; 10_000]);
    }
    assert_eq!(parser.next(&mut input), Ok(None));
    input.extend_from_slice(b"\r\n");
    let request = parser.next(&mut input).expect("well formed").expect("complete");
    assert_eq!((request[0].len(), request[0].capacity()), (1_000_000, 1_000_000));
    assert_eq!(LARGEST.get(), 1_000_000);
}

#[test]
fn no_bytes_make_the_parser_panic() {
    let mut rng = fastrand::Rng::with_seed(7);
    let alphabet = b"*$\r\n\r\n-0123459 \"'\\xPINGset";
    let mut outcomes = [0; 2];
    for _ in 0..200_000 {
        let bytes: Vec<u8> =
            (0..rng.usize(..40)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
        let cut = rng.usize(..=bytes.len());
        let whole = parse(&bytes, &[]);
        assert_eq!(parse(&bytes, &[cut]), whole, "cut at {cut}: {}", bytes.escape_ascii());
        outcomes[usize::from(whole.is_err())] += 1;
    }
    assert!(outcomes[0] > 1_000 && outcomes[1] > 1_000, "the bytes are too dull: {outcomes:?}");
}

#[test]
fn integers_have_one_form() {
    let right: [(&[u8], i64); 5] = [
        (b"0", 0),
        (b"-1", -1),
        (b"10", 10),
        (b"9223372036854775807", i64::MAX),
        (b"-9223372036854775808", i64::MIN),
    ];
    for (text, number) in right {
        assert_eq!(parse_integer(text), Some(number));
    }
    for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "1a", "1.0", "9223372036854775808"] {
        assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn patterns() {
    let cases = [
        ("*", "", true),
        ("*", "anything", true),
        ("", "", true),
        ("", "a", false),
        ("a", "a", true),
        ("a", "ab", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a*c", "abbbc", true),
        ("a*c", "abbbcd", false),
        ("*a*b*", "xxaxxbxx", true),
        ("h[ae]llo", "hello", true),
        ("h[ae]llo", "hillo", false),
        ("h[^e]llo", "hallo", true),
        ("h[^e]llo", "hello", false),
        ("h[a-c]llo", "hbllo", true),
        ("h[c-a]llo", "hbllo", true),
        ("h[a-c]llo", "hdllo", false),
        ("[", "[", false),
        ("[a", "a", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("[\\]]", "]", true),
        ("\\", "\\", true),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(
            glob::matches(pattern.as_bytes(), text.as_bytes()),
            expected,
            "{pattern:?} on {text:?}"
        );
    }
    // Exponential in a matcher that goes back to every star.
    assert!(!glob::matches("a*".repeat(40).as_bytes(), &[b'b'; 10_000]));
    assert!(!glob::matches(format!("{}c", "a*".repeat(40)).as_bytes(), &[b'a'; 10_000]));
}

#[test]
fn scores_read_back() {
    let cases = [
        (0.0, "0"),
        (3.0, "3"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (1e-9, "1e-9"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ];
    for (score, text) in cases {
        assert_eq!(format_score(score), text);
        assert_eq!(text.parse::<f64>(), Ok(score));
    }
}

#[test]
fn a_sorted_set_agrees_with_a_sorted_list() {
    let mut rng = fastrand::Rng::with_seed(3);
    let score = |number: i32| Score::new(f64::from(number)).expect("a number");
    let mut set = SortedSet::default();
    let mut list: Vec<(i32, String)> = Vec::new();
    for _ in 0..20_000 {
        let member = format!("m{:02}", rng.u32(..50));
        let known = list.iter().position(|(_, name)| *name == member);
        match rng.u32(..10) {
            0..6 => {
                let new = rng.i32(-20..20);
                let old = known.map(|index| list.remove(index).0);
                list.push((new, member.clone()));
                list.sort();
                assert_eq!(set.insert(member.as_bytes(), score(new)), old.map(score));
            }
            6..8 => {
                assert_eq!(set.remove(member.as_bytes()), known.is_some());
                known.map(|index| list.remove(index));
            }
            8 => {
                let highest = rng.bool();
                let popped = set.pop(highest).map(|(name, score)| (score, name.to_vec()));
                let index = if highest { list.len().wrapping_sub(1) } else { 0 };
                let expected = (index < list.len()).then(|| list.remove(index));
                assert_eq!(
                    popped,
                    expected.map(|(number, name)| (score(number), name.into_bytes()))
                );
            }
            _ => {
                assert_eq!(set.rank(member.as_bytes()), known);
                let (low, high) = (rng.i32(-20..20), rng.i32(-20..20));
                let (open_low, open_high) = (rng.bool(), rng.bool());
                let end = |number, exclusive| Limit { score: score(number), exclusive };
                let found: Vec<_> = set
                    .between(end(low, open_low), end(high, open_high))
                    .map(|(name, _)| name.to_vec())
                    .collect();
                let inside = |number: i32| {
                    (number > low || number == low && !open_low)
                        && (number < high || number == high && !open_high)
                };
                let expected: Vec<_> = list
                    .iter()
                    .filter(|(number, _)| inside(*number))
                    .map(|(_, name)| name.clone().into_bytes())
                    .collect();
                assert_eq!(found, expected);
            }
        }
        assert_eq!(set.len(), list.len());
        assert!(
            set.iter()
                .map(|(name, _)| name.to_vec())
                .eq(list.iter().map(|(_, name)| name.clone().into_bytes()))
        );
    }
}
