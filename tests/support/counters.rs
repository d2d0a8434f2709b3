//! What `BITMAG_STATS=PATH` wrote: the proof of which allocator served a process.
//! The file is text, a key and a value a line, and a line per size class.
//! A process tree writes one file per process that ended in the ordinary way; the tests look at the process that asked for most.

use std::collections::HashMap;
use std::path::Path;

/// The counters of one process.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    values: HashMap<String, u64>,
    /// Lines that describe a class: class size and its values.
    pub classes: Vec<(u64, HashMap<String, u64>)>,
}

impl Counters {
    /// Reads the text; an error quotes the line that does not fit.
    pub fn parse(text: &str) -> Result<Counters, String> {
        let mut counters = Counters::default();
        for line in text.lines() {
            let bad = || format!("statistics line {line:?}");
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |word: &str| word.parse::<u64>().map_err(|_| bad());
            match words[..] {
                ["bitmag", _version] => {}
                ["class", size, ref rest @ ..] if rest.len() % 2 == 0 => {
                    let mut values = HashMap::new();
                    for pair in rest.chunks(2) {
                        values.insert(pair[0].to_string(), number(pair[1])?);
                    }
                    counters.classes.push((number(size)?, values));
                }
                [key, value] => {
                    counters.values.insert(key.to_string(), number(value)?);
                }
                _ => return Err(bad()),
            }
        }
        Ok(counters)
    }

    /// One value; every key of the format must be there.
    pub fn get(&self, key: &str) -> u64 {
        *self.values.get(key).unwrap_or_else(|| panic!("no {key} in the statistics: {self:?}"))
    }

    /// All processes that wrote into a folder, the one with most blocks refilled first.
    pub fn of_folder(folder: &Path) -> Result<Vec<Counters>, String> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| e.to_string())? {
            let path = entry.map_err(|e| e.to_string())?.path();
            let text = std::fs::read_to_string(&path).map_err(|e| e.to_string())?;
            // A process killed while it wrote leaves a part; the last key says that a file is whole.
            if text.contains("remote_frees") {
                all.push(Counters::parse(&text)?);
            }
        }
        all.sort_by_key(|counters: &Counters| std::cmp::Reverse(counters.get("refilled_blocks")));
        Ok(all)
    }
}
