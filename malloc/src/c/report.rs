//! `malloc_stats` and `malloc_info`: the statistics as text on stderr and as XML on a stream.
//! The text is the one that `BITMAG_STATS` writes; the XML has glibc's root element and its
//! totals, so that scripts which look for those find them, and one element per size class.
//! Lines are formatted in a buffer on the stack. The stream may allocate its own buffer by our
//! `malloc`: no lock of ours is held here.

use core::ffi::{c_int, c_void};
use core::fmt::{self, Write};

use bitmag::c_face;

use super::{WHOLE_FAMILY, WholeFamily};

#[used]
static TAKE_ALL: &WholeFamily = &WHOLE_FAMILY;

/// `malloc_stats`: the statistics as text on stderr.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    c_face::write_stats(2);
}

/// `malloc_info`: the statistics as XML on `stream`. 0, or EINVAL for options other than 0, or
/// -1 with the stream's errno when it took less than all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut c_void) -> c_int {
    if options != 0 {
        return libc::EINVAL;
    }
    let mut out = Stream { file: stream.cast(), line: [0; LINE], used: 0 };
    match write_xml(&mut out).and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(fmt::Error) => -1,
    }
}

fn write_xml(out: &mut Stream) -> fmt::Result {
    let stats = bitmag::stats();
    writeln!(out, "<malloc version=\"1\">")?;
    writeln!(out, "<allocator name=\"bitmag\" version=\"{}\"/>", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "<sizes>")?;
    for class in &stats.classes {
        if class.units == 0 && class.refills == 0 && class.remote_frees == 0 {
            continue;
        }
        writeln!(
            out,
            "<class size=\"{}\" units=\"{}\" blocks=\"{}\" used=\"{}\" refills=\"{}\" refilled_blocks=\"{}\" \
             flushes=\"{}\" flushed_blocks=\"{}\" remote_frees=\"{}\"/>",
            class.size,
            class.units,
            class.blocks,
            class.used,
            class.refills,
            class.refilled_blocks,
            class.flushes,
            class.flushed_blocks,
            class.remote_frees
        )?;
    }
    writeln!(out, "</sizes>")?;
    writeln!(out, "<total type=\"slabs\" size=\"{}\"/>", stats.slabs)?;
    writeln!(out, "<total type=\"purged\" size=\"{}\"/>", stats.purged)?;
    writeln!(out, "<total type=\"magazines\" size=\"{}\"/>", stats.magazines)?;
    writeln!(out, "<total type=\"large\" size=\"{}\"/>", stats.large)?;
    writeln!(out, "<threads count=\"{}\"/>", stats.threads)?;
    writeln!(out, "<system type=\"current\" size=\"{}\"/>", stats.committed)?;
    writeln!(out, "<aspace type=\"total\" size=\"{}\"/>", stats.reserved)?;
    writeln!(out, "</malloc>")
}

/// Bytes gathered before they go to the stream.
const LINE: usize = 512;

/// A `FILE *` as a place to format into.
struct Stream {
    file: *mut libc::FILE,
    line: [u8; LINE],
    /// Bytes of `line` not yet handed over, at most `LINE`.
    used: usize,
}

impl Stream {
    fn flush(&mut self) -> fmt::Result {
        let used = core::mem::take(&mut self.used);
        // SAFETY: the caller of `malloc_info` passes an open stream; `line` holds `used` bytes.
        let written = unsafe { libc::fwrite(self.line.as_ptr().cast(), 1, used, self.file) };
        if written == used { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Write for Stream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == LINE {
                self.flush()?;
            }
            let (now, later) = rest.split_at(rest.len().min(LINE - self.used));
            if let Some(place) = self.line.get_mut(self.used..self.used + now.len()) {
                place.copy_from_slice(now);
            }
            self.used += now.len();
            rest = later;
        }
        Ok(())
    }
}
