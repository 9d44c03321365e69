//! Instructions of 64-bit ARM. Nothing of this was run there; the tests decode recorded bytes.

use super::{Choice, InnerCall, Needs};

/// `nop`
const NOP: u32 = 0xd503_201f;
/// `bti`, in its four forms: where a call may arrive.
const BTI: [u32; 4] = [0xd503_241f, 0xd503_245f, 0xd503_249f, 0xd503_24df];

/// The best instruction for a probe. Return addresses are in a register here, which the instructions
/// that are stepped over do not change, so both needs are the same.
#[must_use]
pub fn choose(code: &[u8], _needs: Needs) -> Choice {
    let first = Choice {
        distance: 0,
        emulated: word(code, 0).is_some_and(is_emulated),
    };
    let mut distance = 0;
    while let Some(instruction) = word(code, distance) {
        if is_emulated(instruction) {
            return Choice {
                distance: distance as u64,
                emulated: true,
            };
        }
        if !BTI.contains(&instruction) {
            break;
        }
        distance += 4;
    }
    first
}

/// Stepping is cheap enough here that inner functions are not looked for.
#[must_use]
pub fn inner_call(_code: &[u8], _address: u64) -> Option<InnerCall> {
    None
}

fn word(code: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*code.get(at..)?.first_chunk()?))
}

/// Whether the kernel emulates it (arch/arm64/kernel/probes/decode-insn.c): `nop`, branches and
/// addresses relative to the instruction.
fn is_emulated(instruction: u32) -> bool {
    let is = |mask: u32, value: u32| instruction & mask == value;
    instruction == NOP
        || is(0xfc00_0000, 0x1400_0000) // b
        || is(0xfc00_0000, 0x9400_0000) // bl
        || is(0xff00_0010, 0x5400_0000) // b.cond
        || is(0x7e00_0000, 0x3400_0000) // cbz, cbnz
        || is(0x7e00_0000, 0x3600_0000) // tbz, tbnz
        || is(0x1f00_0000, 0x1000_0000) // adr, adrp
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(instructions: &[u32]) -> (u64, bool) {
        let code: Vec<u8> = instructions
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let choice = choose(&code, Needs::ArgumentsAndStack);
        (choice.distance, choice.emulated)
    }

    #[test]
    fn landing_pads_are_passed_only_for_something_better() {
        let (bti, stp, nop) = (BTI[1], 0xa9bd_7bfd, NOP);
        let (cbz, adrp, paciasp) = (0xb400_0120, 0xb000_0080, 0xd503_233f);
        assert_eq!(chosen(&[bti, stp]), (0, false));
        assert_eq!(chosen(&[bti, nop, stp]), (4, true));
        assert_eq!(chosen(&[cbz, stp]), (0, true));
        assert_eq!(chosen(&[bti, cbz, stp]), (4, true));
        assert_eq!(chosen(&[adrp, stp]), (0, true));
        // Signs the return address, which the kernel must not find signed.
        assert_eq!(chosen(&[paciasp, nop]), (0, false));
        assert_eq!(chosen(&[]), (0, false));
    }

    /// The first instructions of functions in Debian 12's `libssl.so.3` for arm64 (3.0.20), as `objdump`
    /// prints them. All are probed at their entry: its instruction is stepped over, or it is a branch.
    #[test]
    fn functions_of_openssl_are_probed_at_their_entry() {
        let functions: [(&str, &[u32], bool); 7] = [
            ("SSL_read", &[0xd100_83ff, 0xd000_03c3, 0xf947_3863], false),
            (
                "SSL_read_ex",
                &[0xa9bf_7bfd, 0x9100_03fd, 0x97ff_ff5b],
                false,
            ),
            ("SSL_write", &[0xd100_83ff, 0xb000_03c3, 0xf947_3863], false),
            (
                "SSL_write_ex",
                &[0xa9bf_7bfd, 0x9100_03fd, 0x97ff_fe9a],
                false,
            ),
            ("SSL_new", &[0xa9bc_7bfd, 0x9100_03fd, 0xa901_53f3], false),
            ("SSL_clear", &[0xa9be_7bfd, 0x9100_03fd, 0xf940_0401], false),
            ("SSL_free", &[0xb400_1840, 0xa9bd_7bfd, 0x9127_8001], true),
        ];
        for (name, code, emulated) in functions {
            assert_eq!(chosen(code), (0, emulated), "{name}");
            let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(inner_call(&bytes, 0x35a70), None, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(code: Vec<u8>) {
            let choice = choose(&code, Needs::Arguments);
            assert!(choice.distance <= code.len() as u64);
        }
    }
}
