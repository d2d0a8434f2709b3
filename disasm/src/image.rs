//! A linked file: its functions, and what lies at an address, by name.
//! Names are demangled and without rustc's hashes, so that they are the same after every build.
//! Stands on the crate `object`; above it are the decoders.

use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{
    Endianness, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SymbolKind,
};
use std::collections::BTreeMap;
use std::path::Path;

/// What the decoders exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Demangled, without hash; `name#2` for the second of a name, and so on.
    pub name: String,
    /// Where it lies.
    pub address: u64,
    /// Its length in bytes.
    pub size: u64,
}

impl Function {
    /// Whether an address lies in it.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        address >= self.address && address - self.address < self.size
    }
}

struct Section {
    name: String,
    address: u64,
    bytes: Vec<u8>,
    size: u64,
}

/// A linked file.
pub struct Image {
    /// What its code is for.
    pub architecture: Architecture,
    functions: Vec<Function>,
    /// Other symbols: name and size by address.
    data: BTreeMap<u64, (String, u64)>,
    sections: Vec<Section>,
    /// What the loader writes to a slot of the global offset table.
    slots: BTreeMap<u64, String>,
    /// Offsets of thread-local symbols from the thread pointer, where this file alone decides them.
    locals: BTreeMap<i64, (String, u64)>,
}

impl Image {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Image, String> {
        let fail = |why: String| format!("{}: {why}", path.display());
        let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        let file = ElfFile64::<Endianness>::parse(&*bytes).map_err(|e| fail(e.to_string()))?;
        Image::parse(&file).map_err(fail)
    }

    fn parse(file: &ElfFile64<Endianness>) -> Result<Image, String> {
        let text = |e: object::Error| e.to_string();
        let architecture = match file.architecture() {
            object::Architecture::X86_64 => Architecture::X86_64,
            object::Architecture::Aarch64 => Architecture::Aarch64,
            other => return Err(format!("no decoder for {other:?}")),
        };
        let mut sections = Vec::new();
        for section in file.sections().filter(|section| section.address() != 0) {
            sections.push(Section {
                name: section.name().map_err(text)?.to_string(),
                address: section.address(),
                bytes: section.data().unwrap_or_default().to_vec(),
                size: section.size(),
            });
        }
        let mut image = Image {
            architecture,
            functions: Vec::new(),
            data: BTreeMap::new(),
            sections,
            slots: BTreeMap::new(),
            locals: BTreeMap::new(),
        };
        let mut thread_local = BTreeMap::new();
        for symbol in file.symbols().filter(|symbol| !symbol.is_undefined()) {
            let name = demangle(symbol.name().map_err(text)?);
            match symbol.kind() {
                SymbolKind::Text if symbol.size() != 0 => {
                    image.functions.push(Function {
                        name,
                        address: symbol.address(),
                        size: symbol.size(),
                    });
                }
                SymbolKind::Data => {
                    drop(image.data.insert(symbol.address(), (name, symbol.size())))
                }
                SymbolKind::Tls => {
                    drop(thread_local.insert(symbol.address(), (name, symbol.size())))
                }
                _ => {}
            }
        }
        image.number_functions();
        image.place_thread_locals(file, &thread_local);
        image.read_slots(file, &thread_local)?;
        Ok(image)
    }

    /// Sorts the functions and makes names unique.
    fn number_functions(&mut self) {
        self.functions.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
        self.functions.dedup_by(|a, b| a.address == b.address && a.name == b.name);
        let mut seen = BTreeMap::<String, usize>::new();
        for function in &mut self.functions {
            let count = seen.entry(function.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                function.name = format!("{}#{count}", function.name);
            }
        }
    }

    /// x86-64 puts an executable's thread-local segment right below the thread pointer, aarch64 16 bytes above it.
    fn place_thread_locals(
        &mut self,
        file: &ElfFile64<Endianness>,
        symbols: &BTreeMap<u64, (String, u64)>,
    ) {
        let endian = file.endian();
        let Some(segment) =
            file.elf_program_headers().iter().find(|header| header.p_type(endian) == elf::PT_TLS)
        else {
            return;
        };
        let align = segment.p_align(endian).max(1);
        let start = match self.architecture {
            Architecture::X86_64 => -segment.p_memsz(endian).next_multiple_of(align).cast_signed(),
            Architecture::Aarch64 => 16u64.next_multiple_of(align).cast_signed(),
        };
        for (offset, symbol) in symbols {
            self.locals.insert(start + offset.cast_signed(), symbol.clone());
        }
    }

    fn read_slots(
        &mut self,
        file: &ElfFile64<Endianness>,
        thread_local: &BTreeMap<u64, (String, u64)>,
    ) -> Result<(), String> {
        let imports = file.dynamic_symbol_table();
        for (slot, relocation) in file.dynamic_relocations().into_iter().flatten() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            let addend = relocation.addend().cast_unsigned();
            let local = match self.architecture {
                Architecture::X86_64 => r_type == elf::R_X86_64_TPOFF64,
                Architecture::Aarch64 => r_type == elf::R_AARCH64_TLS_TPREL,
            };
            let name = match relocation.target() {
                _ if local => thread_local.get(&addend).map(|(name, _)| name.clone()),
                RelocationTarget::Symbol(index) => imports
                    .as_ref()
                    .and_then(|table| object::ObjectSymbolTable::symbol_by_index(table, index).ok())
                    .and_then(|symbol| symbol.name().ok().map(demangle)),
                _ => Some(self.name_of(addend)),
            };
            if let Some(name) = name {
                self.slots.insert(slot, name);
            }
        }
        Ok(())
    }

    /// All functions, in order of address.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function of that name.
    pub fn function(&self, name: &str) -> Result<&Function, String> {
        self.functions
            .iter()
            .find(|function| function.name == name)
            .ok_or_else(|| format!("no function {name}"))
    }

    /// A function's machine code.
    pub fn bytes(&self, function: &Function) -> Result<&[u8], String> {
        let section = self.section(function.address).ok_or("it lies in no section")?;
        let start = (function.address - section.address) as usize;
        section
            .bytes
            .get(start..start + function.size as usize)
            .ok_or_else(|| "it leaves its section".into())
    }

    fn section(&self, address: u64) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| address >= section.address && address - section.address < section.size)
    }

    /// What the code at an address is called.
    #[must_use]
    pub fn name_of_code(&self, address: u64) -> String {
        let place = self.functions.partition_point(|function| function.address <= address);
        let function = place.checked_sub(1).map(|place| &self.functions[place]);
        match function.filter(|function| function.contains(address)) {
            Some(inside) => {
                let first =
                    self.functions.partition_point(|function| function.address < inside.address);
                let name = plain(&self.functions[first].name);
                if inside.address == address {
                    name.into()
                } else {
                    format!("{name} + {}", address - inside.address)
                }
            }
            None => {
                self.section(address).map_or_else(|| "?".into(), |section| section.name.clone())
            }
        }
    }

    /// What lies at an address: a slot's content, a symbol, or at least the section.
    #[must_use]
    pub fn name_of(&self, address: u64) -> String {
        if let Some(name) = self.slots.get(&address) {
            return format!("{name}@got");
        }
        if let Some((start, (name, size))) = self.data.range(..=address).next_back()
            && address - start < (*size).max(1)
        {
            return offset(name, address - start);
        }
        self.name_of_code(address)
    }

    /// The thread-local symbol at an offset from the thread pointer.
    #[must_use]
    pub fn thread_local(&self, offset_from_thread: i64) -> Option<String> {
        let (start, (name, size)) = self.locals.range(..=offset_from_thread).next_back()?;
        let within = (offset_from_thread - start).cast_unsigned();
        (within < *size).then(|| offset(name, within))
    }
}

fn offset(name: &str, by: u64) -> String {
    if by == 0 { name.into() } else { format!("{name} + {by}") }
}

/// Without the number that tells functions of one name apart.
fn plain(name: &str) -> &str {
    name.split('#').next().unwrap_or(name)
}

/// The Rust path behind a symbol, without hashes.
fn demangle(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}
