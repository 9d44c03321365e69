//! The data of an ELF file, as it is in memory when the file is loaded at the address that it was
//! linked for: pointers are there, whether they stand in the file or only in its relocations.

use std::fs::File;

use object::LittleEndian;
use object::elf::Rela64;
use object::pod::slice_from_all_bytes;
use rustc_hash::FxHashMap;

use super::image::bytes;

/// Bytes of the relocations of a file. Interpreters have some 300 KiB of them.
const MOST_RELOCATION_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes that may be asked for at once.
const MOST_BYTES: usize = 4096;

/// `R_X86_64_RELATIVE`: the address that the file is loaded at, and a number.
#[cfg(target_arch = "x86_64")]
const RELATIVE: u32 = object::elf::R_X86_64_RELATIVE.0;
/// `R_AARCH64_RELATIVE`: the address that the file is loaded at, and a number.
#[cfg(target_arch = "aarch64")]
const RELATIVE: u32 = object::elf::R_AARCH64_RELATIVE.0;

/// A part of a file: address, length, offset in the file.
pub type Part = (u64, u64, u64);

/// The data of a file.
pub struct Data<'image> {
    file: &'image File,
    loaded: &'image [Part],
    /// Pointers to places in the file, by their own address.
    pointers: FxHashMap<u64, u64>,
}

impl<'image> Data<'image> {
    /// Reads the relocations; tables that cannot be read have none.
    pub(super) fn read(file: &'image File, loaded: &'image [Part], tables: &[(u64, u64)]) -> Self {
        let mut pointers = FxHashMap::default();
        for (offset, length) in tables {
            if *length > MOST_RELOCATION_BYTES {
                continue;
            }
            let table = bytes(file, *offset, *length).unwrap_or_default();
            let entries: &[Rela64<LittleEndian>] = slice_from_all_bytes(&table).unwrap_or_default();
            let relative = entries
                .iter()
                .filter(|entry| entry.r_type(LittleEndian, false).0 == RELATIVE);
            pointers.extend(relative.map(|entry| {
                let value = entry.r_addend.get(LittleEndian);
                (entry.r_offset.get(LittleEndian), value as u64)
            }));
        }
        Self {
            file,
            loaded,
            pointers,
        }
    }

    /// Reads so many bytes at an address; `None` where the file does not have all of them.
    #[must_use]
    pub fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        if length > MOST_BYTES {
            return None;
        }
        let (start, _, offset) = self.loaded.iter().find(|(start, size, _)| {
            let distance = address.checked_sub(*start);
            let left = distance.and_then(|distance| size.checked_sub(distance));
            left.is_some_and(|left| left >= length as u64)
        })?;
        let offset = offset.checked_add(address - start)?;
        let mut found = bytes(self.file, offset, length as u64).ok()?;
        for (at, word) in found.chunks_exact_mut(8).enumerate() {
            let address = address.wrapping_add(at as u64 * 8);
            if let Some(pointer) = self.pointers.get(&address) {
                word.copy_from_slice(&pointer.to_le_bytes());
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::Image;
    use super::*;

    /// A pointer, which the file can only have as a relocation: test programs may be loaded anywhere.
    #[unsafe(no_mangle)]
    static KAOS_DATA_TEST_POINTER: &[u8; 8] = b"KAOSdata";

    #[test]
    fn pointers_lead_to_what_they_point_to() {
        assert_eq!(*std::hint::black_box(&KAOS_DATA_TEST_POINTER), b"KAOSdata");
        let file = File::open("/proc/self/exe").expect("it can be read");
        let names = ["KAOS_DATA_TEST_POINTER"];
        let image = Image::read(&file, &names).expect("it is an ELF file");
        let address = image.function(names[0]).expect("it is there").address;
        let data = image.data();
        let pointer = data.bytes(address, 8).expect("it is in the file");
        let pointer = u64::from_le_bytes(pointer.try_into().expect("eight bytes"));
        assert_eq!(data.bytes(pointer, 8).as_deref(), Some(&b"KAOSdata"[..]));
        assert_eq!(data.bytes(u64::MAX, 8), None);
        assert_eq!(data.bytes(address, MOST_BYTES + 1), None);
    }
}
