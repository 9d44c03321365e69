//! The types in a BTF blob: as much of the format as finding a member's offset takes.
//!
//! Format: Documentation/bpf/btf.rst of the kernel. The crates that read it are under the LGPL or
//! do not know the kinds of current kernels.

/// First two bytes of the header, in the machine's byte order.
const MAGIC: u16 = 0xeb9f;
/// Bytes of a type before what its kind adds: name, info, size or type.
const TYPE_BYTES: usize = 12;
/// Bytes of a member: name, type, offset.
const MEMBER_BYTES: usize = 12;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
/// Kinds that stand for the type that they name: typedef, volatile, const, restrict, type tag.
const TRANSPARENT_KINDS: [u32; 5] = [8, 9, 10, 11, 18];

/// A blob that is no BTF, or one of a newer format.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged, or of a format that is not known: {0}")]
pub struct BadBtf(&'static str);

/// All types of a blob.
pub struct Types {
    blob: Vec<u8>,
    /// Where each type begins; type 0 is `void` and has no place.
    starts: Vec<usize>,
    /// Structures that have members: one type in eleven, and the only ones that are looked for by name.
    /// The newest kernels (seen with 7.2) have all that we ask for near the end.
    structures: Vec<Composite>,
    /// Where the names begin.
    names: usize,
}

/// A structure or union.
#[derive(Debug, Clone, Copy)]
pub struct Composite {
    start: usize,
}

/// A member of a structure or union.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous structure or union.
    pub name: &'a [u8],
    /// Its offset, in bits.
    pub bit_offset: u32,
    type_id: u32,
}

impl Types {
    /// Reads where the types begin.
    ///
    /// # Errors
    /// The blob is cut, or holds a kind of type that is not known.
    pub fn parse(blob: Vec<u8>) -> Result<Self, BadBtf> {
        let cut = BadBtf("it ends too early");
        let magic = blob.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
        if magic != Some(MAGIC) {
            return Err(BadBtf("it does not begin like BTF"));
        }
        let field = |offset| Some(number(&blob, offset)? as usize);
        let (Some(header), Some(types), Some(types_length), Some(names)) =
            (field(4), field(8), field(12), field(16))
        else {
            return Err(cut);
        };
        let begin = header + types;
        let end = begin + types_length;
        let mut starts = vec![usize::MAX];
        let mut structures = Vec::new();
        let mut at = begin;
        while at < end {
            starts.push(at);
            let info = number(&blob, at + 4).ok_or(BadBtf("a type is cut"))?;
            if kind(info) == KIND_STRUCT && length(info) > 0 {
                structures.push(Composite { start: at });
            }
            at += TYPE_BYTES + extra_bytes(info).ok_or(BadBtf("a kind of type is new"))?;
        }
        if end > blob.len() || header + names > blob.len() {
            return Err(cut);
        }
        Ok(Self {
            names: header + names,
            blob,
            starts,
            structures,
        })
    }

    /// The structure of this name that has members.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<Composite> {
        let mut structures = self.structures.iter().copied();
        structures.find(|composite| self.name(composite.start) == name.as_bytes())
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self, composite: Composite) -> u32 {
        self.number(composite.start + 8)
    }

    /// Its members.
    pub fn members(&self, composite: Composite) -> impl Iterator<Item = Member<'_>> {
        let info = self.number(composite.start + 4);
        // With this flag the upper byte of an offset is the width of a bit field.
        let mask = if info >> 31 == 1 {
            0x00ff_ffff
        } else {
            u32::MAX
        };
        (0..length(info)).map(move |index| {
            let start = composite.start + TYPE_BYTES + index * MEMBER_BYTES;
            Member {
                name: self.name(start),
                type_id: self.number(start + 4),
                bit_offset: self.number(start + 8) & mask,
            }
        })
    }

    /// The structure or union that a member is, behind typedefs and qualifiers.
    #[must_use]
    pub fn composite_of(&self, member: Member<'_>) -> Option<Composite> {
        let mut type_id = member.type_id;
        // A chain cannot be longer than there are types; a circle would be.
        for _ in &self.starts {
            let start = *self.starts.get(type_id as usize).filter(|_| type_id > 0)?;
            match kind(self.number(start + 4)) {
                KIND_STRUCT | KIND_UNION => return Some(Composite { start }),
                kind if TRANSPARENT_KINDS.contains(&kind) => type_id = self.number(start + 8),
                _ => return None,
            }
        }
        None
    }

    /// The name that a type or member begins with.
    fn name(&self, start: usize) -> &[u8] {
        let name = self.names + self.number(start) as usize;
        let name = self.blob.get(name..).unwrap_or_default();
        name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// A number of a type; parsing has made sure that it is there, except for the members of a
    /// type at the very end.
    fn number(&self, offset: usize) -> u32 {
        number(&self.blob, offset).unwrap_or_default()
    }
}

fn number(blob: &[u8], offset: usize) -> Option<u32> {
    let bytes = blob.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

fn length(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// Bytes that a type's kind adds; `None` for a kind that is not known.
fn extra_bytes(info: u32) -> Option<usize> {
    match kind(info) {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => Some(0),
        // Integer, variable, declaration tag.
        1 | 14 | 17 => Some(4),
        // Array.
        3 => Some(12),
        // Enumeration, prototype: two numbers for each.
        6 | 13 => Some(8 * length(info)),
        // Structure, union, section, 64-bit enumeration: three.
        KIND_STRUCT | KIND_UNION | 15 | 19 => Some(12 * length(info)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct a { union { int b; } ; int c; }` with the union behind a `const`, and names.
    fn blob() -> Vec<u8> {
        let names = b"\0a\0b\0c\0";
        let types: &[&[u32]] = &[
            &[0, 1 << 24, 4, 0],
            &[0, KIND_UNION << 24 | 1, 4, 3, 1, 0],
            &[0, 10 << 24, 2],
            &[1, KIND_STRUCT << 24 | 2, 8, 0, 3, 0, 5, 1, 32],
        ];
        let types: Vec<u8> = types
            .concat()
            .iter()
            .flat_map(|it| it.to_ne_bytes())
            .collect();
        let mut blob = Vec::from(MAGIC.to_ne_bytes());
        blob.extend([1, 0]);
        let sizes = [24, 0, types.len(), types.len(), names.len()];
        blob.extend(sizes.iter().flat_map(|size| (*size as u32).to_ne_bytes()));
        blob.extend(types);
        blob.extend(names);
        blob
    }

    #[test]
    fn members_are_found_through_qualifiers() {
        let types = Types::parse(blob()).expect("it is whole");
        let structure = types.structure("a").expect("it is there");
        let members: Vec<_> = types.members(structure).collect();
        assert_eq!((members[1].name, members[1].bit_offset), (&b"c"[..], 32));
        let union = types.composite_of(members[0]).expect("behind a const");
        let inner: Vec<_> = types.members(union).map(|member| member.name).collect();
        assert_eq!(inner, [b"b"]);
        assert!(types.composite_of(members[1]).is_none());
        assert!(types.structure("b").is_none());
    }

    #[test]
    fn cut_blobs_are_refused_or_say_less() {
        let whole = blob();
        for length in 0..whole.len() {
            if let Ok(types) = Types::parse(whole[..length].to_vec())
                && let Some(structure) = types.structure("a")
            {
                assert_eq!(types.members(structure).count(), 2);
            }
        }
    }

    #[test]
    fn new_kinds_are_told() {
        let mut new = blob();
        new[24 + 7] = 25;
        assert_eq!(
            Types::parse(new).err(),
            Some(BadBtf("a kind of type is new"))
        );
    }
}
