//! The functions and the code of an ELF file.
//!
//! The file is somebody else's and may be made to hurt. It is read in pieces of bounded size, never
//! mapped, since it could be cut short under us; and a file that makes no sense has no functions.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use object::LittleEndian;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, FileHeader64, Machine, PF_X, PT_GNU_EH_FRAME, PT_LOAD,
    ProgramHeader64, SHN_UNDEF, SHT_DYNSYM, SHT_GNU_HASH, SHT_RELA, SHT_SYMTAB, STT_FUNC,
    STT_OBJECT, SectionHeader64, Sym64,
};
use object::pod::{Pod, from_bytes, slice_from_all_bytes};
use rustc_hash::FxHashMap;

use super::data::{Data, Part};
use super::exports::Exports;

/// Bytes of one table of a file. The symbols of a browser engine have some 40 MiB.
const MOST_TABLE_BYTES: u64 = 64 * 1024 * 1024;
/// Program or section headers of a file; their numbers have 16 bits.
const MOST_HEADERS: usize = u16::MAX as usize;
/// Files are mapped in pages of at least this size.
const PAGE_BYTES: u64 = 4096;
/// Bytes of code that may be asked for at once.
const MOST_CODE_BYTES: usize = 4096;

/// The architecture that we were built for: code of another one does not run here.
#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = object::elf::EM_X86_64;
/// The architecture that we were built for: code of another one does not run here.
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = object::elf::EM_AARCH64;

/// The endianness of both.
const LE: LittleEndian = LittleEndian;

/// A part of a file that was read: address and bytes.
pub type Loaded = (u64, Vec<u8>);

/// A function of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Its address, as the file says it.
    pub address: u64,
    /// Its length in bytes, 0 where the file does not say.
    pub size: u64,
}

/// An executable file or a library, opened.
pub struct Image<'file> {
    file: &'file File,
    /// Executable parts.
    code: Vec<Part>,
    /// All parts that are loaded.
    loaded: Vec<Part>,
    /// The table in which unwinding finds functions.
    frames: Option<Part>,
    /// Offset and length of the tables of relocations.
    relocations: Vec<(u64, u64)>,
    functions: FxHashMap<&'static str, Function>,
}

impl<'file> Image<'file> {
    /// Looks for functions by name, among those that are exported, then among all that the file
    /// names.
    ///
    /// # Errors
    /// It is no ELF file for this machine, or cannot be read.
    pub fn read(file: &'file File, names: &[&'static str]) -> io::Result<Self> {
        let header: FileHeader64<LittleEndian> = *first(&bytes(file, 0, header_size())?)?;
        let ident = &header.e_ident;
        let is_ours = ident.magic == ELFMAG
            && ident.class == ELFCLASS64
            && ident.data == ELFDATA2LSB
            && header.e_machine.get(LE) == MACHINE;
        if !is_ours {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut image = Self {
            file,
            code: Vec::new(),
            loaded: Vec::new(),
            frames: None,
            relocations: Vec::new(),
            functions: FxHashMap::default(),
        };
        let segments = header.e_phoff.get(LE);
        let count = usize::from(header.e_phnum.get(LE));
        let segments: Table<ProgramHeader64<LittleEndian>> = Table::read(file, segments, count)?;
        for segment in segments.entries()? {
            let place = (&segment.p_vaddr, &segment.p_filesz, &segment.p_offset);
            let part = (place.0.get(LE), place.1.get(LE), place.2.get(LE));
            if segment.p_type.get(LE) == PT_GNU_EH_FRAME {
                image.frames = Some(part);
            }
            if segment.p_type.get(LE) == PT_LOAD {
                image.loaded.push(part);
                if segment.p_flags.get(LE).contains(PF_X) {
                    image.code.push(part);
                }
            }
        }
        let count = usize::from(header.e_shnum.get(LE));
        let sections: Table<SectionHeader64<LittleEndian>> =
            Table::read(file, header.e_shoff.get(LE), count)?;
        let sections = sections.entries()?;
        let is_relocations =
            |section: &&SectionHeader64<LittleEndian>| section.sh_type.get(LE) == SHT_RELA;
        image.relocations = sections
            .iter()
            .filter(is_relocations)
            .map(|section| (section.sh_offset.get(LE), section.sh_size.get(LE)))
            .collect();
        for (index, section) in sections.iter().enumerate() {
            let kind = section.sh_type.get(LE);
            let linked = |section: &SectionHeader64<LittleEndian>| {
                sections.get(section.sh_link.get(LE) as usize)
            };
            // Exported names have an index, but in files for loaders that do without.
            if kind == SHT_GNU_HASH
                && let Some(symbols) = linked(section)
                && let Some(strings) = linked(symbols)
            {
                image.look_up(names, section, symbols, strings)?;
            }
            let is_indexed = |other: &SectionHeader64<LittleEndian>| {
                other.sh_type.get(LE) == SHT_GNU_HASH && other.sh_link.get(LE) as usize == index
            };
            if kind == SHT_DYNSYM
                && !sections.iter().any(is_indexed)
                && let Some(strings) = linked(section)
            {
                image.look_for(names, section, strings)?;
            }
        }
        for symbols in sections {
            if symbols.sh_type.get(LE) == SHT_SYMTAB
                && image.functions.len() < names.len()
                && let Some(strings) = sections.get(symbols.sh_link.get(LE) as usize)
            {
                image.look_for(names, symbols, strings)?;
            }
        }
        Ok(image)
    }

    /// Looks names up in the index of the exported ones: of a large file that is a thousandth of
    /// the work of reading its symbols, and a process runs on while we look.
    fn look_up(
        &mut self,
        names: &[&'static str],
        hashes: &SectionHeader64<LittleEndian>,
        symbols: &SectionHeader64<LittleEndian>,
        strings: &SectionHeader64<LittleEndian>,
    ) -> io::Result<()> {
        let hashes = bytes(self.file, hashes.sh_offset.get(LE), hashes.sh_size.get(LE))?;
        let Some(exports) = Exports::new(&hashes) else {
            return self.look_for(names, symbols, strings);
        };
        for name in names {
            for number in exports.candidates(name) {
                let size = size_of::<Sym64<LittleEndian>>() as u64;
                let Some(symbol) = part(self.file, symbols, u64::from(number) * size, size)? else {
                    break;
                };
                let symbol: &Sym64<LittleEndian> = first(&symbol)?;
                let length = name.len() as u64 + 1;
                let found = part(self.file, strings, symbol.st_name.get(LE).into(), length)?;
                if found.is_some_and(|found| is_name(&found, name)) {
                    self.add(name, symbol);
                    break;
                }
            }
        }
        Ok(())
    }

    fn look_for(
        &mut self,
        names: &[&'static str],
        symbols: &SectionHeader64<LittleEndian>,
        strings: &SectionHeader64<LittleEndian>,
    ) -> io::Result<()> {
        let section = |header: &SectionHeader64<LittleEndian>| {
            bytes(self.file, header.sh_offset.get(LE), header.sh_size.get(LE))
        };
        let (symbols, strings) = (section(symbols)?, section(strings)?);
        let symbols: &[Sym64<LittleEndian>] =
            slice_from_all_bytes(&symbols).map_err(|()| io::ErrorKind::InvalidData)?;
        // There may be 100 000, and nearly all are others.
        let mut beginnings: Vec<[u8; 4]> = names
            .iter()
            .map(|name| beginning(name.as_bytes()))
            .collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        for symbol in symbols {
            let start = symbol.st_name.get(LE) as usize;
            let Some(name) = strings.get(start..) else {
                continue;
            };
            if !beginnings.contains(&beginning(name)) {
                continue;
            }
            if let Some(wanted) = names.iter().find(|wanted| is_name(name, wanted)) {
                self.add(wanted, symbol);
            }
        }
        Ok(())
    }

    /// Notes a function, if the symbol is one that the file itself has.
    fn add(&mut self, name: &'static str, symbol: &Sym64<LittleEndian>) {
        let is_wanted = matches!(symbol.st_type(), STT_FUNC | STT_OBJECT);
        if is_wanted && symbol.st_shndx.get(LE) != SHN_UNDEF {
            self.functions.entry(name).or_insert(Function {
                address: symbol.st_value.get(LE),
                size: symbol.st_size.get(LE),
            });
        }
    }

    /// A function by its name, if it was looked for and is there.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Function> {
        self.functions.get(name).copied()
    }

    /// Whether it has any of the functions that were looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Its data.
    #[must_use]
    pub fn data(&self) -> Data<'_> {
        Data::read(self.file, &self.loaded, &self.relocations)
    }

    /// Its code, and what of it is loaded and no code, each with its address; none of what is longer
    /// than this.
    #[must_use]
    pub fn constant_parts(&self, most_bytes: u64) -> (Vec<Loaded>, Vec<Loaded>) {
        let read = |part: &Part| self.loaded(part, most_bytes);
        let constants = self.loaded.iter().filter(|part| !self.code.contains(part));
        (
            self.code.iter().filter_map(read).collect(),
            constants.filter_map(read).collect(),
        )
    }

    /// The table in which unwinding finds functions, with its address.
    pub(super) fn frames(&self, most_bytes: u64) -> Option<Loaded> {
        self.loaded(self.frames.as_ref()?, most_bytes)
    }

    fn loaded(&self, (address, length, offset): &Part, most_bytes: u64) -> Option<Loaded> {
        // What lies about where it is has no use.
        address.checked_add(*length)?;
        let read = *length <= most_bytes;
        let bytes = read.then(|| bytes(self.file, *offset, *length).ok())??;
        Some((*address, bytes))
    }

    /// Page at which its code begins, as the file says it.
    #[must_use]
    pub fn code_start(&self) -> Option<u64> {
        let start = self.code.iter().map(|(start, _, _)| *start).min()?;
        Some(start & !(PAGE_BYTES - 1))
    }

    /// Offset in the file of the code at an address.
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        self.place(address).map(|(offset, _)| offset)
    }

    /// Offset of an address, and how many bytes of code there are from it on.
    fn place(&self, address: u64) -> Option<(u64, u64)> {
        self.code.iter().find_map(|(start, length, offset)| {
            let distance = address.checked_sub(*start)?;
            let left = length.checked_sub(distance).filter(|left| *left > 0)?;
            Some((offset.checked_add(distance)?, left))
        })
    }

    /// At most `length` bytes of code from an address on; fewer where it ends, none where there is
    /// no code.
    #[must_use]
    pub fn code(&self, address: u64, length: usize) -> Vec<u8> {
        let read = || {
            let (offset, left) = self.place(address)?;
            let length = (length.min(MOST_CODE_BYTES) as u64).min(left);
            bytes(self.file, offset, length).ok()
        };
        read().unwrap_or_default()
    }
}

/// A table of a file.
struct Table<Entry> {
    bytes: Vec<u8>,
    entry: std::marker::PhantomData<Entry>,
}

impl<Entry: Pod> Table<Entry> {
    fn read(file: &File, offset: u64, count: usize) -> io::Result<Self> {
        let size = count.min(MOST_HEADERS) * size_of::<Entry>();
        Ok(Self {
            bytes: bytes(file, offset, size as u64)?,
            entry: std::marker::PhantomData,
        })
    }

    fn entries(&self) -> io::Result<&[Entry]> {
        slice_from_all_bytes(&self.bytes).map_err(|()| io::ErrorKind::InvalidData.into())
    }
}

fn header_size() -> u64 {
    size_of::<FileHeader64<LittleEndian>>() as u64
}

fn first<T: Pod>(bytes: &[u8]) -> io::Result<&T> {
    match from_bytes(bytes) {
        Ok((value, _)) => Ok(value),
        Err(()) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The first four bytes of a name, with what comes after it where it is shorter.
fn beginning(name: &[u8]) -> [u8; 4] {
    name.first_chunk().copied().unwrap_or_default()
}

/// Whether this name, with its end, is what the bytes begin with.
fn is_name(bytes: &[u8], name: &str) -> bool {
    bytes
        .strip_prefix(name.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&0))
}

/// Reads a part of a section; `None` where it has not as much.
fn part(
    file: &File,
    section: &SectionHeader64<LittleEndian>,
    start: u64,
    length: u64,
) -> io::Result<Option<Vec<u8>>> {
    let end = start.saturating_add(length);
    let offset = section.sh_offset.get(LE).checked_add(start);
    match offset {
        Some(offset) if end <= section.sh_size.get(LE) => bytes(file, offset, length).map(Some),
        _ => Ok(None),
    }
}

/// Reads a part of a file. A length that the file does not have costs no memory.
pub(super) fn bytes(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let end = offset
        .checked_add(length)
        .ok_or(io::ErrorKind::InvalidData)?;
    if length > MOST_TABLE_BYTES || end > file.metadata()?.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// The file that has our own code has a function with a name that is not mangled.
    #[unsafe(no_mangle)]
    extern "C" fn kaos_image_test_function() -> u32 {
        std::hint::black_box(7)
    }

    fn own_file() -> File {
        assert_eq!(kaos_image_test_function(), 7);
        File::open("/proc/self/exe").expect("it can be read")
    }

    #[test]
    fn functions_are_found_with_their_code() {
        let file = own_file();
        let names = ["kaos_image_test_function", "no_such_function"];
        let image = Image::read(&file, &names).expect("it is an ELF file");
        let function = image.function(names[0]).expect("it is there");
        assert_eq!(image.function(names[1]), None);
        let in_file = image.code(function.address, 8);
        let address = kaos_image_test_function as *const u8;
        // SAFETY: the function is longer than what is read of it.
        let in_memory = unsafe { std::slice::from_raw_parts(address, in_file.len()) };
        assert_eq!(in_file, in_memory);
        assert!(image.offset_of(function.address).is_some());
        assert_eq!(image.offset_of(u64::MAX), None);
        assert!(image.code(u64::MAX, 8).is_empty());
    }

    /// A file whose bytes lie costs an error or finds nothing; it never panics or takes memory.
    #[test]
    fn damaged_files_are_refused() {
        let whole = bytes(&own_file(), 0, 4096).expect("it has as much");
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut copy = whole.clone();
            change(&mut copy);
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&copy).expect("it is written");
            Image::read(&file, &["a"]).map(|image| image.is_empty())
        };
        for length in [0, 4, 63, 64, 200, 4096] {
            assert!(
                damaged(&|bytes| bytes.truncate(length)).is_err(),
                "{length}"
            );
        }
        for place in 0..64 {
            for value in [0, 1, 0x7f, 0xff] {
                let _ = damaged(&|bytes| bytes[place] = value);
                let _ = damaged(&|bytes| bytes[32..64].fill(value));
            }
        }
    }
}
