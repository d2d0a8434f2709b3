//! The commands: a table of names, each with its number of arguments and the function that answers
//! it. A connection hands every complete request to `execute`, which looks the name up, runs it and
//! leaves the reply. The files beside this one hold the commands by the kind of value they work on.

mod collections;
mod keys;
mod lists;
mod server;
mod sorted_sets;
mod strings;

use std::borrow::Cow;
use std::ops::Index;
use std::time::{Duration, Instant};

use super::State;
use super::glob;
use super::reply::Replies;
use super::request::{Request, parse_integer};
use super::store::Store;

/// What a command can see besides its arguments.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The keys.
    pub store: &'a Store,
    /// The service around them.
    pub state: &'a State,
    /// The time at which this request happens.
    pub now: Instant,
}

/// What the connection does after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Reads on.
    Continue,
    /// Sends the reply and closes.
    Close,
}

/// Why a command did nothing; its text is the error reply.
#[derive(Debug)]
pub struct Failure(Cow<'static, str>);

impl Failure {
    const WRONG_TYPE: Self =
        Self::of("WRONGTYPE Operation against a key holding the wrong kind of value");
    const SYNTAX: Self = Self::of("ERR syntax error");
    const NOT_INTEGER: Self = Self::of("ERR value is not an integer or out of range");
    const NOT_FLOAT: Self = Self::of("ERR value is not a valid float");
    const NO_SUCH_KEY: Self = Self::of("ERR no such key");
    const OUT_OF_RANGE: Self = Self::of("ERR index out of range");
    const OVERFLOW: Self = Self::of("ERR increment or decrement would overflow");
    const NOT_POSITIVE: Self = Self::of("ERR value is out of range, must be positive");
    const TOO_LONG: Self = Self::of("ERR string exceeds maximum allowed size");

    const fn of(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

type Outcome = Result<(), Failure>;

/// A request's arguments, the command's name first.
pub struct Arguments(Request);

impl Index<usize> for Arguments {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        &self.0[index]
    }
}

impl Arguments {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// Moves an argument out, so that the store need not copy it.
    fn take(&mut self, index: usize) -> Vec<u8> {
        std::mem::take(&mut self.0[index])
    }

    fn from(&self, first: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0[first..].iter().map(Vec::as_slice)
    }

    fn take_from(&mut self, first: usize) -> impl ExactSizeIterator<Item = Vec<u8>> {
        self.0[first..].iter_mut().map(std::mem::take)
    }

    /// Whether an argument is this keyword, in any case; false when there is no such argument.
    fn is(&self, index: usize, keyword: &str) -> bool {
        self.0.get(index).is_some_and(|argument| argument.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    fn integer(&self, index: usize) -> Result<i64, Failure> {
        self.0.get(index).and_then(|text| parse_integer(text)).ok_or(Failure::NOT_INTEGER)
    }

    /// A number that may be infinite but is one.
    fn float(&self, index: usize) -> Result<f64, Failure> {
        parse_float(&self[index]).ok_or(Failure::NOT_FLOAT)
    }

    /// The instant that lies an argument's units in the future.
    fn deadline(
        &self,
        index: usize,
        unit: Duration,
        now: Instant,
    ) -> Result<Option<Instant>, Failure> {
        let amount = self.integer(index)?;
        let Ok(amount) = u64::try_from(amount) else { return Ok(None) };
        let seconds = unit.as_secs_f64() * amount as f64;
        // A thousand years, far inside what an instant can hold.
        if seconds > 1000.0 * 365.0 * 86400.0 {
            let name = String::from_utf8_lossy(&self[0]).to_lowercase();
            return Err(Failure(format!("ERR invalid expire time in '{name}' command").into()));
        }
        let milliseconds = unit.as_millis() as u64 * amount;
        Ok((milliseconds > 0).then(|| now + Duration::from_millis(milliseconds)))
    }
}

fn parse_float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|number| !number.is_nan())
}

/// The elements from `start` to `stop`, where negative numbers count from the end: first index and
/// how many.
fn span(start: i64, stop: i64, length: usize) -> (usize, usize) {
    let length = length as i64;
    let from_end = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(length - 1));
    if start > stop { (0, 0) } else { (start as usize, (stop - start + 1) as usize) }
}

type Run = fn(Context<'_>, &mut Arguments, &mut Replies) -> Outcome;

/// One command.
pub struct Command {
    name: &'static str,
    /// How many arguments there must be, the name included; negative: at least.
    arity: i32,
    /// Which of them are keys, as COMMAND tells clients: first, last (from the end when negative),
    /// step.
    keys: (i32, i32, i32),
    run: Run,
}

impl Command {
    const fn new(name: &'static str, arity: i32, keys: (i32, i32, i32), run: Run) -> Self {
        Self { name, arity, keys, run }
    }

    fn takes(&self, arguments: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { arguments >= wanted } else { arguments == wanted }
    }
}

const GROUPS: [&[Command]; 6] = [
    strings::COMMANDS,
    lists::COMMANDS,
    sorted_sets::COMMANDS,
    collections::COMMANDS,
    keys::COMMANDS,
    server::COMMANDS,
];

/// Every command there is.
pub fn all() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().copied().flatten()
}

/// Commands by their names in capitals.
pub struct Table(
    std::collections::HashMap<&'static [u8], &'static Command, foldhash::fast::RandomState>,
);

/// No command's name is longer.
const LONGEST_NAME: usize = 24;

impl Table {
    /// All commands.
    pub fn new() -> Self {
        Self(all().map(|command| (command.name.as_bytes(), command)).collect())
    }

    fn find(&self, name: &[u8]) -> Option<&'static Command> {
        let mut capitals = [0; LONGEST_NAME];
        let capitals = capitals.get_mut(..name.len())?;
        capitals.copy_from_slice(name);
        capitals.make_ascii_uppercase();
        self.0.get(&*capitals).copied()
    }
}

/// Answers one request.
pub fn execute(context: Context<'_>, request: Request, replies: &mut Replies) -> Flow {
    let mut arguments = Arguments(request);
    replies.begin();
    let Some(command) = context.state.commands.find(&arguments[0]) else {
        let name = &arguments[0][..arguments[0].len().min(64)];
        replies.fail(&format!("ERR unknown command '{}'", name.escape_ascii()));
        return Flow::Continue;
    };
    if !command.takes(arguments.len()) {
        let name = command.name.to_lowercase();
        replies.fail(&format!("ERR wrong number of arguments for '{name}' command"));
        return Flow::Continue;
    }
    match (command.run)(context, &mut arguments, replies) {
        Ok(()) => replies.finish(),
        Err(Failure(text)) => replies.fail(&text),
    }
    if command.name == "QUIT" { Flow::Close } else { Flow::Continue }
}
