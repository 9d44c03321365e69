//! Constants of this run.

use kaos_ebpf::settings::Settings;

/// Overwritten by user space before loading. Zero means nothing here: a program is never loaded
/// without its settings.
// SAFETY: a structure of integers, for which all bits zero is a value.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = unsafe { core::mem::zeroed() };

/// Reads one field of the settings. Volatile, since the compiler must not use the zeros above;
/// the verifier knows the real values and drops what they make unreachable.
macro_rules! setting {
    ($($field:ident).+ $([$index:literal])?) => {
        // SAFETY: a static that lives as long as the program.
        unsafe {
            core::ptr::read_volatile(&raw const $crate::kernel::settings::SETTINGS.$($field).+ $([$index])?)
        }
    };
}
pub(crate) use setting;
