//! Which instruction set the engine runs on, and the proof that the CPU has it.
//! The choice is one relaxed byte for the whole process: what the CPU offers, unless somebody forces a backend.
//! Tokens (`HaveAvx2`, `HaveAvx512`) exist only where detection said yes; holding one is what makes a call sound.

use crate::sync::{AtomicU8, Ordering::Relaxed};

/// An implementation of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Backend {
    /// Portable code, four words at a time.
    Scalar = 1,
    /// x86-64 with AVX2, BMI1, BMI2 and POPCNT: four words to the vector.
    Avx2 = 2,
    /// x86-64 with AVX-512 F, BW, DQ, VL, IFMA, VBMI, VBMI2 and VPOPCNTDQ: eight words to the vector.
    Avx512 = 3,
    /// aarch64: two words to the vector. Every such CPU has it.
    Neon = 4,
}

impl Backend {
    /// Every backend, available or not.
    pub const ALL: [Backend; 4] = [Backend::Scalar, Backend::Avx2, Backend::Avx512, Backend::Neon];

    /// The fastest backend that this CPU can run.
    #[must_use]
    pub fn detect() -> Backend {
        if Backend::Avx512.is_available() {
            Backend::Avx512
        } else if Backend::Avx2.is_available() {
            Backend::Avx2
        } else if Backend::Neon.is_available() {
            Backend::Neon
        } else {
            Backend::Scalar
        }
    }

    /// Whether this CPU can run the backend.
    #[must_use]
    pub fn is_available(self) -> bool {
        Isa::check(self).is_some()
    }

    /// The name that `BITMAG_BACKEND` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Scalar => "scalar",
            Backend::Avx2 => "avx2",
            Backend::Avx512 => "avx512",
            Backend::Neon => "neon",
        }
    }

    /// The backend of that name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Backend> {
        match name {
            b"scalar" => Some(Backend::Scalar),
            b"avx2" => Some(Backend::Avx2),
            b"avx512" => Some(Backend::Avx512),
            b"neon" => Some(Backend::Neon),
            _ => None,
        }
    }
}

/// A backend together with the proof that the CPU can run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(HaveAvx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(HaveAvx512),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon(HaveNeon),
}

impl Isa {
    /// The proof for `backend`, if the CPU (and the target) has it.
    pub(super) fn check(backend: Backend) -> Option<Isa> {
        match backend {
            Backend::Scalar => Some(Isa::Scalar),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => HaveAvx2::check().map(Isa::Avx2),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => HaveAvx512::check().map(Isa::Avx512),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Backend::Neon => Some(Isa::Neon(HaveNeon(()))),
            #[allow(unreachable_patterns)] // which arms exist depends on the target
            _ => None,
        }
    }

    /// The backend without the proof.
    pub(super) const fn backend(self) -> Backend {
        match self {
            Isa::Scalar => Backend::Scalar,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => Backend::Avx2,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => Backend::Avx512,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::Neon(_) => Backend::Neon,
        }
    }
}

/// The backend in use as its discriminant; 0 until the first use. Written only with a value that `Isa::check` accepted.
static CHOICE: AtomicU8 = AtomicU8::new(0);

/// The process's instruction set, detected at the first use.
#[inline]
pub(super) fn chosen() -> Isa {
    match CHOICE.load(Relaxed) {
        1 => Isa::Scalar,
        #[cfg(target_arch = "x86_64")]
        // SAFETY: CHOICE holds 2 only after `Isa::check` produced a HaveAvx2 in this process.
        2 => Isa::Avx2(unsafe { HaveAvx2::assume() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: CHOICE holds 3 only after `Isa::check` produced a HaveAvx512 in this process.
        3 => Isa::Avx512(unsafe { HaveAvx512::assume() }),
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        4 => Isa::Neon(HaveNeon(())),
        _ => choose(),
    }
}

/// First use: detects, and keeps the answer unless somebody forced a backend meanwhile.
#[cold]
#[inline(never)]
fn choose() -> Isa {
    let isa = Isa::check(Backend::detect()).unwrap_or(Isa::Scalar);
    match CHOICE.compare_exchange(0, isa.backend() as u8, Relaxed, Relaxed) {
        Ok(_) => isa,
        Err(forced) => Backend::ALL
            .into_iter()
            .find(|b| *b as u8 == forced)
            .and_then(Isa::check)
            .unwrap_or(Isa::Scalar),
    }
}

/// The backend that the process uses.
#[must_use]
pub fn backend() -> Backend {
    chosen().backend()
}

/// Makes the process use `backend` from now on. Returns false, and changes nothing, where the CPU lacks it.
pub fn set_backend(backend: Backend) -> bool {
    let available = backend.is_available();
    if available {
        CHOICE.store(backend as u8, Relaxed);
    }
    available
}

/// Proof of NEON: a constant, since every aarch64 CPU that runs Linux has it.
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HaveNeon(());

#[cfg(target_arch = "x86_64")]
mod tokens {
    cpufeatures::new!(cpu_avx2, "avx2", "bmi1", "bmi2", "popcnt");
    cpufeatures::new!(
        cpu_avx512,
        "avx2",
        "bmi1",
        "bmi2",
        "popcnt",
        "avx512f",
        "avx512bw",
        "avx512dq",
        "avx512vl",
        "avx512ifma",
        "avx512vbmi",
        "avx512vbmi2",
        "avx512vpopcntdq"
    );

    /// Proof that the CPU and the system have AVX2, BMI1, BMI2 and POPCNT.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct HaveAvx2(());

    impl HaveAvx2 {
        /// Asks the CPU (once; the answer is kept).
        pub(crate) fn check() -> Option<Self> {
            cpu_avx2::get().then_some(HaveAvx2(()))
        }

        /// # Safety
        /// `check` must have succeeded in this process.
        #[inline(always)]
        pub(crate) const unsafe fn assume() -> Self {
            HaveAvx2(())
        }
    }

    /// Proof that the CPU and the system have what the AVX-512 backend uses.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct HaveAvx512(());

    impl HaveAvx512 {
        /// Asks the CPU (once; the answer is kept).
        pub(crate) fn check() -> Option<Self> {
            cpu_avx512::get().then_some(HaveAvx512(()))
        }

        /// # Safety
        /// `check` must have succeeded in this process.
        #[inline(always)]
        pub(crate) const unsafe fn assume() -> Self {
            HaveAvx512(())
        }

        /// `check` asks for all that AVX2's token stands for, too.
        #[inline(always)]
        pub(crate) const fn avx2(self) -> HaveAvx2 {
            HaveAvx2(())
        }
    }
}
#[cfg(target_arch = "x86_64")]
pub(super) use tokens::{HaveAvx2, HaveAvx512};
