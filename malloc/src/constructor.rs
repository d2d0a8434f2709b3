//! What runs when the library is loaded, or the program that it is linked into starts: the
//! background thread begins here if `BITMAG_BACKGROUND` asks for it. Not at a first `malloc` or
//! `free`: libc makes such calls with locks held that creating a thread needs.

extern "C" fn loaded() {
    bitmag::c_face::loaded();
}

/// The dynamic loader, or the start of a static program, calls what stands in this section.
#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;
