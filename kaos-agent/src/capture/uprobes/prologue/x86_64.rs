//! Instructions of x86-64.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

use super::{Choice, InnerCall, Needs};

/// Instructions that are looked at: more than compilers put before the first call.
const MOST_INSTRUCTIONS: usize = 24;

/// The first four arguments (System V ABI).
const ARGUMENTS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];

/// The best instruction for a probe: the first that the kernel emulates, if all before it leave
/// what the probe needs as it is; else the very first.
#[must_use]
pub fn choose(code: &[u8], needs: Needs) -> Choice {
    let mut factory = InstructionInfoFactory::new();
    for instruction in instructions(code, 0) {
        if is_emulated(&instruction) {
            return Choice {
                distance: instruction.ip(),
                emulated: true,
            };
        }
        let is_passed = match needs {
            Needs::ArgumentsAndStack => does_nothing(&instruction),
            Needs::Arguments => {
                instruction.flow_control() == FlowControl::Next
                    && ARGUMENTS
                        .iter()
                        .all(|argument| !writes(&mut factory, &instruction, *argument))
            }
        };
        if !is_passed {
            break;
        }
    }
    Choice {
        distance: 0,
        emulated: false,
    }
}

/// The first call of a function at `address`, if nothing before it but a check for a negative third
/// argument can leave it out, and if it hands the first three arguments on.
#[must_use]
pub fn inner_call(code: &[u8], address: u64) -> Option<InnerCall> {
    let mut factory = InstructionInfoFactory::new();
    let mut guarded = false;
    let mut fourth_on_stack = false;
    for instruction in instructions(code, address) {
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::Call if instruction.code() == Code::Call_rel32_64 => {
                return Some(InnerCall {
                    target: instruction.near_branch_target(),
                    fourth_on_stack,
                    guarded,
                });
            }
            FlowControl::ConditionalBranch if instruction.mnemonic() == Mnemonic::Js => {
                guarded = true;
                continue;
            }
            _ => return None,
        }
        let [first, second, third, fourth] = ARGUMENTS;
        if writes(&mut factory, &instruction, first)
            || writes(&mut factory, &instruction, second)
            || (writes(&mut factory, &instruction, third) && !widens_third(&instruction))
        {
            return None;
        }
        if writes(&mut factory, &instruction, fourth) {
            if !is_stack_address(&instruction) {
                return None;
            }
            fourth_on_stack = true;
        }
    }
    None
}

fn instructions(code: &[u8], address: u64) -> impl Iterator<Item = Instruction> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    std::iter::from_fn(move || {
        let instruction = decoder.can_decode().then(|| decoder.decode())?;
        (!instruction.is_invalid()).then_some(instruction)
    })
    .take(MOST_INSTRUCTIONS)
}

/// Whether the kernel emulates it (arch/x86/kernel/uprobes.c, `branch_setup_xol_ops` and
/// `push_setup_xol_ops`).
fn is_emulated(instruction: &Instruction) -> bool {
    match instruction.code() {
        // One byte, or two with the prefix for r8 to r15.
        Code::Push_r64 => instruction.len() <= 2,
        Code::Nopd => instruction.len() == 1,
        // Longer ones have prefixes.
        Code::Call_rel32_64 | Code::Jmp_rel32_64 => instruction.len() == 5,
        Code::Jmp_rel8_64 => instruction.len() == 2,
        _ if instruction.is_jcc_short() => instruction.len() == 2,
        _ if instruction.is_jcc_near() => instruction.len() == 6,
        _ => false,
    }
}

fn does_nothing(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Endbr64 | Mnemonic::Nop)
}

fn writes(
    factory: &mut InstructionInfoFactory,
    instruction: &Instruction,
    register: Register,
) -> bool {
    let reads_only = [OpAccess::Read, OpAccess::CondRead, OpAccess::NoMemAccess];
    factory
        .info(instruction)
        .used_registers()
        .iter()
        .any(|used| {
            used.register().full_register() == register && !reads_only.contains(&used.access())
        })
}

/// `movslq %edx,%rdx`: an `int` becomes a `size_t`.
fn widens_third(instruction: &Instruction) -> bool {
    instruction.code() == Code::Movsxd_r64_rm32
        && instruction.op0_register() == Register::RDX
        && instruction.op1_kind() == OpKind::Register
        && instruction.op1_register() == Register::EDX
}

/// `mov %rsp,%rcx` or `lea n(%rsp),%rcx`.
fn is_stack_address(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Mov => {
            instruction.op1_kind() == OpKind::Register
                && instruction.op1_register() == Register::RSP
        }
        Mnemonic::Lea => {
            matches!(instruction.memory_base(), Register::RSP | Register::RBP)
                && instruction.memory_index() == Register::None
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as `objdump` prints them.
    fn code(text: &str) -> Vec<u8> {
        text.split_ascii_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
            .collect()
    }

    /// `SSL_read` of Debian 12's OpenSSL 3.0.
    const SSL_READ: &str = "48 83 ec 18 64 48 8b 04 25 28 00 00 00 48 89 44 24 08 31 c0 85 d2 \
                            78 2f 48 89 e1 48 63 d2 e8 3d fe ff ff 85 c0 7e 03 8b 04 24";
    /// Its `SSL_read_ex`.
    const SSL_READ_EX: &str = "48 83 ec 08 e8 c7 fd ff ff 31 d2 85 c0 0f 48 c2";
    /// Its `SSL_free`.
    const SSL_FREE: &str = "48 85 ff 0f 84 97 03 00 00 41 55 b8 ff ff ff ff 41 54 55 53";

    fn chosen(text: &str, needs: Needs) -> (u64, bool) {
        let choice = choose(&code(text), needs);
        (choice.distance, choice.emulated)
    }

    #[test]
    fn emulated_instructions_are_chosen() {
        let both = Needs::ArgumentsAndStack;
        assert_eq!(chosen("41 57 41 56", both), (0, true), "push r15");
        assert_eq!(chosen("55 48 89 e5", both), (0, true), "push rbp");
        assert_eq!(chosen("f3 0f 1e fa 55", both), (4, true), "endbr64; push");
        assert_eq!(chosen("0f 1f 40 00 55", both), (4, true), "nop; push");
        assert_eq!(chosen("e9 01 02 03 04", both), (0, true), "jmp");
        assert_eq!(chosen("90 48 83 ec 08", both), (0, true), "nop");
        // Neither prefixes nor other pushes are emulated.
        assert_eq!(chosen("66 90 c3", both), (0, false));
        assert_eq!(chosen("6a 01 c3", both), (0, false), "push $1");
        assert_eq!(chosen("", both), (0, false));
        assert_eq!(chosen("06 06", both), (0, false), "no instruction");
    }

    #[test]
    fn what_a_probe_needs_is_not_changed_before_it() {
        // test %rdi,%rdi; je: the stack is the same, but only arguments may be looked for here.
        assert_eq!(chosen(SSL_FREE, Needs::Arguments), (3, true));
        assert_eq!(chosen(SSL_FREE, Needs::ArgumentsAndStack), (0, false));
        assert_eq!(chosen(SSL_READ, Needs::ArgumentsAndStack), (0, false));
        // mov %rdi,%rbx; push: nothing is lost; mov %rbx,%rdi; push: the argument is.
        assert_eq!(chosen("48 89 fb 55", Needs::Arguments), (3, true));
        assert_eq!(chosen("48 89 df 55", Needs::Arguments), (0, false));
        // xor %edi,%edi writes the lower half, which clears the upper.
        assert_eq!(chosen("31 ff 55", Needs::Arguments), (0, false));
        // Nothing behind a return belongs to the function's entry.
        assert_eq!(chosen("48 89 fb c3 55", Needs::Arguments), (0, false));
    }

    #[test]
    fn inner_functions_are_found() {
        let inner = InnerCall {
            target: 0x35290,
            fourth_on_stack: true,
            guarded: true,
        };
        assert_eq!(inner_call(&code(SSL_READ), 0x35430), Some(inner));
        let inner = InnerCall {
            target: 0x35290,
            fourth_on_stack: false,
            guarded: false,
        };
        assert_eq!(inner_call(&code(SSL_READ_EX), 0x354c0), Some(inner));
    }

    #[test]
    fn calls_with_other_arguments_or_that_may_not_happen_are_none() {
        for (what, text) in [
            ("another first argument", "48 89 df e8 00 00 00 00"),
            ("a third from memory", "48 8b 57 08 e8 00 00 00 00"),
            ("a fourth that is a number", "b9 01 00 00 00 e8 00 00 00 00"),
            ("a branch before", "48 85 ff 74 05 e8 00 00 00 00"),
            ("a pointer", "ff 15 00 00 00 00"),
            ("a return before", "c3 e8 00 00 00 00"),
            ("none", "48 83 ec 08"),
        ] {
            assert_eq!(inner_call(&code(text), 0x1000), None, "{what}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(code: Vec<u8>) {
            for needs in [Needs::Arguments, Needs::ArgumentsAndStack] {
                assert!(choose(&code, needs).distance <= code.len() as u64);
            }
            let _ = inner_call(&code, u64::MAX - 8);
        }
    }
}
