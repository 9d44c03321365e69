//! Offsets of kernel fields, from the running kernel's BTF.

mod types;

use std::fs;

use kaos_ebpf::settings::{Offsets, Registers};

use self::types::{Composite, Types};
use super::error::CannotTrace;

/// Where the kernel describes its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Reads every offset that the programs need.
///
/// # Errors
/// There is no BTF, or a field is not in it.
pub fn read_offsets() -> Result<(Offsets, Registers), CannotTrace> {
    let unreadable = |why: String| CannotTrace {
        what: format!("cannot read the kernel's BTF at {KERNEL_BTF}"),
        why,
        remedy: "use a kernel built with CONFIG_DEBUG_INFO_BTF=y".to_owned(),
    };
    let blob = fs::read(KERNEL_BTF).map_err(|error| unreadable(error.to_string()))?;
    let types = Types::parse(blob).map_err(|error| unreadable(error.to_string()))?;
    offsets_of(&types).map_err(|field| CannotTrace {
        what: "cannot find a field of the kernel".to_owned(),
        why: format!("its BTF has no {field}"),
        remedy: "report this kernel's version: it is not supported yet".to_owned(),
    })
}

fn offsets_of(types: &Types) -> Result<(Offsets, Registers), String> {
    let mut offsets = Offsets::default();
    for (structure, path, place) in Offsets::FIELDS {
        *place(&mut offsets) = field(types, structure, path)?;
    }
    Ok((offsets, registers(types)?))
}

#[cfg(target_arch = "x86_64")]
fn registers(types: &Types) -> Result<Registers, String> {
    Ok(Registers {
        syscall: field(types, "pt_regs", "orig_ax")?,
        second: field(types, "pt_regs", "si")?,
        third: field(types, "pt_regs", "dx")?,
        // The System V ABI has them in di, si, dx and cx; a test asks for their places.
        arguments: field(types, "pt_regs", "cx")?,
        arguments_from_last: 1,
        result: field(types, "pt_regs", "ax")?,
        mode: field(types, "pt_regs", "cs")?,
        thread_pointer: field(types, "task_struct", "thread.fsbase")?,
        mode_mask: 0xffff,
        // __USER_CS (arch/x86/include/asm/segment.h); 32-bit code runs with another selector.
        mode_64_bit: 0x33,
    })
}

#[cfg(target_arch = "aarch64")]
fn registers(types: &Types) -> Result<Registers, String> {
    let general = field(types, "pt_regs", "regs")?;
    Ok(Registers {
        syscall: field(types, "pt_regs", "syscallno")?,
        second: general + 8,
        third: general + 16,
        arguments: general,
        arguments_from_last: 0,
        result: general,
        mode: field(types, "pt_regs", "pstate")?,
        thread_pointer: field(types, "task_struct", "thread.uw.tp_value")?,
        // PSR_MODE32_BIT (arch/arm64/include/uapi/asm/ptrace.h).
        mode_mask: 0x10,
        mode_64_bit: 0,
    })
}

/// Byte offset of a member, given as a path through named members; anonymous structures and
/// unions on the way are looked through. Without a path, the size of the structure.
fn field(types: &Types, structure: &str, path: &str) -> Result<u32, String> {
    let missing = || format!("{structure}.{path}");
    let mut current = types.structure(structure).ok_or_else(missing)?;
    if path.is_empty() {
        return Ok(types.size(current));
    }
    let mut bits = 0;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let (offset, inside) = member(types, current, name).ok_or_else(missing)?;
        bits += offset;
        if names.peek().is_some() {
            current = inside.ok_or_else(missing)?;
        }
    }
    Ok(bits / 8)
}

/// Offset in bits of a member, and the structure or union that it is.
fn member(types: &Types, composite: Composite, name: &str) -> Option<(u32, Option<Composite>)> {
    types.members(composite).find_map(|candidate| {
        let inside = types.composite_of(candidate);
        if candidate.name == name.as_bytes() {
            return Some((candidate.bit_offset, inside));
        }
        let (offset, found) = member(types, inside.filter(|_| candidate.name.is_empty())?, name)?;
        Some((candidate.bit_offset + offset, found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets that the layout rules of C fix whatever the configuration.
    #[test]
    fn the_running_kernel_has_every_field() {
        if !fs::exists(KERNEL_BTF).unwrap_or(false) {
            eprintln!("skipped: this machine's kernel has no BTF");
            return;
        }
        let (offsets, registers) = read_offsets().expect("all fields are found");
        // struct sock_common begins with the address pair: skc_daddr, then skc_rcv_saddr.
        assert_eq!(offsets.sock_remote_ip4, 0);
        assert_eq!(offsets.sock_local_ip4, 4);
        assert_eq!(offsets.sock_local_port, offsets.sock_remote_port + 2);
        assert!(offsets.tcp_write_seq > offsets.sock_error);
        // struct upid is a number and a pointer.
        assert_eq!((offsets.number_value, offsets.number_bytes), (0, 16));
        if cfg!(target_arch = "x86_64") {
            // struct pt_regs of the x86-64 ABI.
            assert_eq!(
                (registers.syscall, registers.second, registers.third),
                (120, 104, 96)
            );
            assert_eq!(registers.arguments, 88, "cx, and dx, si and di behind it");
        }
    }
}
