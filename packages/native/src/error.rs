//! What a failed call carries to JavaScript, and what libbpf prints on the way.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;

use libbpf_sys as sys;

/// Parts of the coded message that `binding.ts` takes apart again.
const SEPARATOR: &str = "\u{1f}";
const TAG: &str = "bpfleet";

/// LIBBPF_ERRNO__LIBELF and LIBBPF_ERRNO__FORMAT.
const LIBBPF_LIBELF: i32 = 4000;
const LIBBPF_FORMAT: i32 = 4001;

#[derive(Default)]
pub struct Failure {
    pub op: &'static str,
    pub object: String,
    pub errno: i32,
    /// A code of BpfError where the errno alone does not tell, or "range" for misuse by the caller.
    pub hint: &'static str,
    /// What to say in place of the errno's own text.
    pub text: String,
    pub warnings: String,
    pub log: String,
}

pub type Res<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(op: &'static str, object: impl Into<String>, errno: i32) -> Self {
        Failure { op, object: object.into(), errno: errno.abs(), ..Default::default() }
    }

    pub fn last(op: &'static str, object: impl Into<String>) -> Self {
        Failure::new(op, object, last_errno())
    }

    pub fn closed(op: &'static str, object: impl Into<String>) -> Self {
        Failure { hint: "closed", text: "it is closed".into(), ..Failure::new(op, object, libc::EBADF) }
    }

    pub fn invalid(op: &'static str, object: impl Into<String>, text: impl Into<String>) -> Self {
        Failure { text: text.into(), ..Failure::new(op, object, libc::EINVAL) }
    }

    pub fn range(op: &'static str, object: impl Into<String>, text: impl Into<String>) -> Self {
        Failure { hint: "range", ..Failure::invalid(op, object, text) }
    }
}

pub fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// libbpf answers `-errno`; system calls answer -1: both end here.
pub fn check(ret: c_int, op: &'static str, object: impl Into<String>) -> Res<c_int> {
    match ret {
        ret if ret >= 0 => Ok(ret),
        -1 => Err(Failure::last(op, object)),
        ret => Err(Failure::new(op, object, ret)),
    }
}

fn errno_text(errno: i32) -> String {
    let mut buffer = [0 as c_char; 256];
    // SAFETY: the buffer is writable for the length given, and libbpf always ends it with NUL.
    unsafe {
        sys::libbpf_strerror(errno, buffer.as_mut_ptr(), buffer.len() as sys::size_t);
        CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
    }
}

impl From<Failure> for napi::Error {
    fn from(failure: Failure) -> Self {
        let errno = failure.errno;
        let hint = match errno {
            _ if !failure.hint.is_empty() => failure.hint,
            LIBBPF_LIBELF | LIBBPF_FORMAT => "not-elf",
            _ => "",
        };
        let text = if failure.text.is_empty() { errno_text(errno) } else { failure.text };
        let clean = |part: &str| part.replace(SEPARATOR, " ");
        let parts = [
            TAG,
            failure.op,
            &clean(&failure.object),
            &errno.to_string(),
            hint,
            &clean(&text),
            &clean(&failure.warnings),
            &clean(&failure.log),
        ];
        napi::Error::new(napi::Status::GenericFailure, parts.join(SEPARATOR))
    }
}

/// What libbpf printed while a closure ran on this thread.
#[derive(Default)]
pub struct Printed {
    pub warnings: String,
    /// Verifier logs by program, of those that were accepted.
    pub logs: Vec<(String, String)>,
    /// The program that was refused, and its log.
    pub refused: Option<(String, String)>,
}

thread_local! {
    static PRINTED: RefCell<Option<Printed>> = const { RefCell::new(None) };
}

const BEGIN: &str = "-- BEGIN PROG LOAD LOG --\n";
const END: &str = "-- END PROG LOAD LOG --";

unsafe extern "C" {
    fn vasprintf(out: *mut *mut c_char, format: *const c_char, args: *mut sys::__va_list_tag) -> c_int;
}

unsafe extern "C" fn print(level: sys::libbpf_print_level, format: *const c_char, args: *mut sys::__va_list_tag) -> c_int {
    PRINTED.with_borrow_mut(|slot| {
        let Some(printed) = slot else { return };
        // SAFETY: libbpf hands a NUL-terminated format with matching arguments.
        let is_log = unsafe { CStr::from_ptr(format) }.to_bytes().windows(BEGIN.len()).any(|part| part == BEGIN.as_bytes());
        if level != sys::LIBBPF_WARN && !is_log {
            return;
        }
        let mut text = std::ptr::null_mut();
        // SAFETY: vasprintf allocates what it returns; it is freed once, below.
        let line = unsafe {
            if vasprintf(&mut text, format, args) < 0 {
                return;
            }
            let line = CStr::from_ptr(text).to_string_lossy().into_owned();
            libc::free(text.cast());
            line
        };
        match split_log(&line) {
            Some(log) if level == sys::LIBBPF_WARN => printed.refused = Some(log),
            Some(log) => printed.logs.push(log),
            None => printed.warnings.push_str(line.strip_prefix("libbpf: ").unwrap_or(&line)),
        }
    });
    0
}

/// `prog 'NAME': -- BEGIN PROG LOAD LOG --\n…-- END PROG LOAD LOG --` → (NAME, …).
fn split_log(line: &str) -> Option<(String, String)> {
    let (head, tail) = line.split_once(BEGIN)?;
    let name = head.split('\'').nth(1)?;
    let log = tail.rsplit_once(END).map_or(tail, |(log, _)| log);
    Some((name.to_string(), log.to_string()))
}

/// Runs a closure and gives what libbpf printed on this thread meanwhile; the hook itself is one for the process.
pub fn printed<T>(run: impl FnOnce() -> T) -> (T, Printed) {
    static HOOK: Once = Once::new();
    // SAFETY: `print` is a plain function of a library that is never unloaded.
    HOOK.call_once(|| unsafe {
        sys::libbpf_set_print(Some(print));
    });
    PRINTED.set(Some(Printed::default()));
    let result = run();
    (result, PRINTED.take().unwrap_or_default())
}
