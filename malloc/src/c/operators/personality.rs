//! How the nothrow forms catch what a new-handler, or a replaced `operator new`, throws.
//! They must return NULL then, so their frames name C++'s personality routine and a table that
//! says "catch everything here"; both are found weakly, because C programs have neither.
//! Where no C++ runtime was loaded at the start the frame has no personality, and an exception
//! passes it as if it were not there.

use core::arch::global_asm;

global_asm!(
    ".pushsection .data.rel.ro.bitmag_malloc_personality,\"aw\",%progbits",
    ".p2align 3",
    ".weak __gxx_personality_v0",
    ".globl bitmag_malloc_personality",
    ".hidden bitmag_malloc_personality",
    ".type bitmag_malloc_personality, %object",
    "bitmag_malloc_personality:",
    ".8byte __gxx_personality_v0",
    ".size bitmag_malloc_personality, . - bitmag_malloc_personality",
    ".popsection",
);

/// Names the personality and the table of [`catch_all`] for the function being assembled:
/// 0x9b is "the address of a pointer", 0x1b "an address", both relative and of 4 bytes.
macro_rules! catches {
    ($name:literal) => {
        concat!(
            ".cfi_personality 0x9b, bitmag_malloc_personality\n",
            ".cfi_lsda 0x1b, ",
            mark!($name, "_lsda\n"),
            mark!($name, "_start:"),
        )
    };
}

/// The table of a function that opened with [`catches`]: what is thrown between its labels
/// `_try` and `_end` lands at its label `_pad`, whatever it is.
macro_rules! catch_all {
    ($name:literal) => {
        concat!(
            ".pushsection .gcc_except_table,\"a\",%progbits\n",
            ".p2align 2\n",
            // Landing pads count from the function's start; types are absolute words of 4 bytes.
            mark!($name, "_lsda:\n"),
            ".byte 0xff\n",
            ".byte 0x03\n",
            ".uleb128 ",
            mark!($name, "_types - "),
            mark!($name, "_after_types\n"),
            mark!($name, "_after_types:\n"),
            // One call site, in uleb128: start, length, landing pad, action 1.
            ".byte 0x01\n",
            ".uleb128 ",
            mark!($name, "_actions - "),
            mark!($name, "_sites\n"),
            mark!($name, "_sites:\n"),
            ".uleb128 ",
            mark!($name, "_try - "),
            mark!($name, "_start\n"),
            ".uleb128 ",
            mark!($name, "_end - "),
            mark!($name, "_try\n"),
            ".uleb128 ",
            mark!($name, "_pad - "),
            mark!($name, "_start\n"),
            ".uleb128 1\n",
            // One action: type 1, no further one.
            mark!($name, "_actions:\n"),
            ".byte 1\n",
            ".byte 0\n",
            ".p2align 2\n",
            // Type 1, counted backwards from here: NULL, which is `catch (...)`.
            ".4byte 0\n",
            mark!($name, "_types:\n"),
            ".popsection",
        )
    };
}

/// A label of the function `$name`, and what follows it.
macro_rules! mark {
    ($name:literal, $rest:literal) => {
        concat!(".Lbitmag_", $name, $rest)
    };
}
pub(super) use {catch_all, catches, mark};
