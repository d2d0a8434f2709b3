//! Loops over a few elements that are to stay loops: the compiler writes them out as often as it knows that there are elements, on
//! ways that are seldom taken and whose length every program pays for.

/// The elements, their number hidden from the compiler.
#[inline(always)]
pub(crate) fn rolled<T>(elements: &[T]) -> &[T] {
    core::hint::black_box(elements)
}

/// The number, hidden from the compiler.
#[inline(always)]
pub(crate) fn opaque(number: usize) -> usize {
    core::hint::black_box(number)
}
