//! What a program was started with. It is read as the program is executed, by the process itself: its
//! stack was written a moment ago, so no page is missing, and however short it runs it is known.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use kaos_ebpf::record::{
    Kind, PROGRAM_ARGUMENTS_BYTES, PROGRAM_ENVIRONMENT_BYTES, ProgramHead, ProgramRecord,
};

use super::maps::PROGRAM;
use super::processes::{candidate_flag, header};
use super::read::kernel;
use super::ring::output_urgent;
use super::settings::setting;

/// Tells that `task`, which runs, executes `program` (`struct linux_binprm`).
#[inline(always)]
pub fn tell(task: u64, program: u64, pid: u32, selection: u32) -> Option<()> {
    let record = PROGRAM.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot, and the one program that uses it cannot interrupt itself.
    let record = unsafe { &mut *record };
    record.head.header = header(Kind::Program, candidate_flag(selection), pid);
    record.head.padding = 0;

    record.head.path[0] = 0;
    if let Some(path) = kernel::<u64>(program, setting!(offsets.program_path)) {
        // SAFETY: the helper checks the address, and ends what it writes with a zero.
        let _ =
            unsafe { bpf_probe_read_kernel_str_bytes(path as *const u8, &mut record.head.path) };
    }

    let memory: u64 = kernel(task, setting!(offsets.task_memory)).unwrap_or(0);
    let (start, length) = area(
        memory,
        setting!(offsets.memory_arguments),
        setting!(offsets.memory_arguments_end),
    );
    let arguments = bounded::<PROGRAM_ARGUMENTS_BYTES>(length);
    let is_read = user(&mut record.head.arguments, start, arguments);
    record.head.arguments_bytes = if is_read { arguments } else { 0 };

    let (start, length) = area(
        memory,
        setting!(offsets.memory_environment),
        setting!(offsets.memory_environment_end),
    );
    let environment = bounded::<PROGRAM_ENVIRONMENT_BYTES>(length);
    let is_read = user(&mut record.environment, start, environment);
    let environment = if is_read { environment } else { 0 };
    record.head.environment_bytes = environment;
    record.head.environment_cut = (environment as u64 != length) as u32;

    // The mask is wider than any length here; it is for the verifier.
    let environment = environment as u64 & (2 * PROGRAM_ENVIRONMENT_BYTES as u64 - 1);
    if environment > PROGRAM_ENVIRONMENT_BYTES as u64 {
        return None;
    }
    // At once: its libraries must be found while it runs.
    output_urgent(
        &raw const *record,
        size_of::<ProgramHead>() as u64 + environment,
    );
    Some(())
}

/// Where an area of a process's memory begins and how long it is, by its bounds' offsets.
#[inline(always)]
fn area(memory: u64, start: u32, end: u32) -> (u64, u64) {
    let start: u64 = kernel(memory, start).unwrap_or(0);
    let end: u64 = kernel(memory, end).unwrap_or(0);
    (start, end.saturating_sub(start))
}

/// At most `MOST` of `length` bytes.
#[inline(always)]
fn bounded<const MOST: usize>(length: u64) -> u32 {
    if length < MOST as u64 {
        length as u32
    } else {
        MOST as u32
    }
}

/// Copies `length` bytes of the running process.
#[inline(always)]
fn user<const MOST: usize>(into: &mut [u8; MOST], from: u64, length: u32) -> bool {
    if length as usize > MOST {
        return false;
    }
    // SAFETY: the helper checks the address; the verifier, that they fit.
    unsafe { bpf_probe_read_user(into.as_mut_ptr().cast(), length, from as *const _) == 0 }
}
