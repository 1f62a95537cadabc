//! What is neither a program, a map nor a link.

use std::ffi::{CStr, c_char, c_void};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, BigInt, Buffer};
use napi_derive::napi;

use crate::error::{Failure, Res, check};
use crate::handle::{Handle, Job, c_string, job, own};

/// BPF_FS_MAGIC.
const BPFFS: libc::c_long = 0xcafe_4a11;

/// The word libbpf has for a number of the kernel's, or the number.
pub fn word(text: *const c_char, number: u32) -> String {
    if text.is_null() {
        return number.to_string();
    }
    // SAFETY: libbpf's names are static strings.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The number behind one of libbpf's words; digits stand for themselves.
pub fn number(text: &str, name_of: impl Fn(u32) -> *const c_char) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    (0..256).find(|&number| {
        let name = name_of(number);
        // SAFETY: libbpf's names are static strings.
        !name.is_null() && unsafe { CStr::from_ptr(name) }.to_bytes() == text.as_bytes()
    })
}

pub fn attach_type_word(number: u32) -> String {
    // SAFETY: takes any number.
    word(unsafe { sys::libbpf_bpf_attach_type_str(number) }, number)
}

pub fn attach_type_number(text: &str, op: &'static str, object: &str) -> Res<u32> {
    // SAFETY: takes any number.
    number(text, |each| unsafe { sys::libbpf_bpf_attach_type_str(each) })
        .ok_or_else(|| Failure::invalid(op, object, format!("no attach type is called {text}")))
}

/// Fixed-size names of the kernel, without the padding.
pub fn name_of(bytes: &[c_char]) -> String {
    let text: Vec<u8> = bytes.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8).collect();
    String::from_utf8_lossy(&text).into_owned()
}

/// BPF_OBJ_GET_INFO_BY_FD into a struct that the caller prepared (all other bytes zero).
pub fn info_by_fd<T>(fd: &OwnedFd, info: &mut T, op: &'static str, object: &str) -> Res<()> {
    let mut size = size_of::<T>() as u32;
    // SAFETY: `info` is writable for `size` bytes; pointers inside were set by the caller to live buffers.
    let ret = unsafe { sys::bpf_obj_get_info_by_fd(fd.as_raw_fd(), (info as *mut T).cast::<c_void>(), &mut size) };
    check(ret, op, object).map(drop)
}

/// Every id of one kind, as the kernel hands them out.
pub fn ids(
    next: unsafe extern "C" fn(u32, *mut u32) -> i32,
    op: &'static str,
    object: &'static str,
) -> impl Iterator<Item = Res<u32>> {
    let mut id = 0;
    std::iter::from_fn(move || {
        // SAFETY: `id` is writable.
        match unsafe { next(id, &mut id) } {
            0 => Some(Ok(id)),
            ret if ret == -libc::ENOENT => None,
            ret => {
                id = u32::MAX;
                Some(Err(Failure::new(op, object, ret)))
            }
        }
    })
}

/// Drops what vanished between two calls: listing is not atomic.
pub fn unless_gone<T>(result: Res<T>) -> Option<Res<T>> {
    match result {
        Err(failure) if failure.errno == libc::ENOENT => None,
        other => Some(other),
    }
}

#[napi]
pub fn libbpf_version() -> String {
    // SAFETY: a static string.
    let text = word(unsafe { sys::libbpf_version_string() }, 0);
    text.trim_start_matches('v').to_string()
}

#[napi]
pub fn possible_cpus() -> napi::Result<u32> {
    Ok(possible_cpu_count()? as u32)
}

pub fn possible_cpu_count() -> Res<usize> {
    // SAFETY: no arguments.
    check(unsafe { sys::libbpf_num_possible_cpus() }, "count", "possible CPUs").map(|count| count as usize)
}

#[napi(object)]
pub struct BtfInfo {
    pub id: u32,
    pub name: String,
    pub size: u32,
    pub is_kernel: bool,
}

fn btf_info(fd: &OwnedFd, object: &str) -> Res<BtfInfo> {
    let mut name = [0 as c_char; 64];
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut info: sys::bpf_btf_info = unsafe { zeroed() };
    info.name = name.as_mut_ptr() as u64;
    info.name_len = name.len() as u32;
    match info_by_fd(fd, &mut info, "inspect", object) {
        // Before 5.11 type information has no name, and asking for one is an error.
        Err(failure) if failure.errno == libc::E2BIG => {
            // SAFETY: as above.
            info = unsafe { zeroed() };
            info_by_fd(fd, &mut info, "inspect", object)?;
        }
        answer => answer?,
    }
    Ok(BtfInfo { id: info.id, name: name_of(&name), size: info.btf_size, is_kernel: info.kernel_btf != 0 })
}

fn open_btf(id: u32) -> Res<OwnedFd> {
    // SAFETY: plain system call.
    own(unsafe { sys::bpf_btf_get_fd_by_id(id) }, "open", format!("BTF {id}"))
}

#[napi]
pub fn list_btfs() -> AsyncTask<Job<Vec<BtfInfo>>> {
    job(|| {
        let look = |id: Res<u32>| id.and_then(|id| btf_info(&open_btf(id)?, &format!("BTF {id}")));
        ids(sys::bpf_btf_get_next_id, "list", "BTF").filter_map(|id| unless_gone(look(id))).collect()
    })
}

#[napi]
pub fn raw_btf(id: u32) -> napi::Result<Buffer> {
    let object = format!("BTF {id}");
    let fd = open_btf(id)?;
    let mut bytes = vec![0u8; btf_info(&fd, &object)?.size as usize];
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut info: sys::bpf_btf_info = unsafe { zeroed() };
    info.btf = bytes.as_mut_ptr() as u64;
    info.btf_size = bytes.len() as u32;
    info_by_fd(&fd, &mut info, "read", &object)?;
    Ok(bytes.into())
}

/// Hands type information to the kernel.
#[napi]
pub fn load_btf(bytes: &[u8]) -> napi::Result<Handle> {
    const LOG: usize = 64 << 10;
    let mut log = vec![0u8; LOG];
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_btf_load_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    opts.log_buf = log.as_mut_ptr().cast();
    opts.log_size = LOG as u32;
    // SAFETY: `bytes` and `log` outlive the call.
    let ret = unsafe { sys::bpf_btf_load(bytes.as_ptr().cast(), bytes.len() as sys::size_t, &mut opts) };
    Ok(Handle::new(own(ret, "load", "BTF").map_err(|failure| Failure { log: text_of(&log), ..failure })?))
}

/// The text before the first NUL.
pub fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Run time and run count of all programs are counted while the descriptor is open.
#[napi]
pub fn enable_stats() -> napi::Result<Handle> {
    // SAFETY: plain system call.
    let ret = unsafe { sys::bpf_enable_stats(sys::BPF_STATS_RUN_TIME) };
    Ok(Handle::new(own(ret, "enable", "run statistics")?))
}

#[napi]
pub fn pin(handle: &Handle, path: String) -> napi::Result<()> {
    let object = format!("pin {path}");
    let fd = handle.get("create", &object)?;
    let path = c_string(&path, "create", &object)?;
    // SAFETY: the path is NUL-terminated.
    check(unsafe { sys::bpf_obj_pin(fd.as_raw_fd(), path.as_ptr()) }, "create", object)?;
    Ok(())
}

pub fn open_pin(path: &str, is_read_only: bool, object: &str) -> Res<OwnedFd> {
    let path = c_string(path, "open", object)?;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_obj_get_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    opts.file_flags = if is_read_only { sys::BPF_F_RDONLY } else { 0 };
    // SAFETY: the path is NUL-terminated.
    own(unsafe { sys::bpf_obj_get_opts(path.as_ptr(), &opts) }, "open", object)
}

/// An exclusive lock on a file or folder that is there; it ends with the handle or with the process, however that ends.
#[napi]
pub fn lock_path(path: String) -> napi::Result<Handle> {
    let object = path.as_str();
    let name = c_string(&path, "lock", object)?;
    // SAFETY: the path is NUL-terminated.
    let fd = own(unsafe { libc::open(name.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }, "open", object)?;
    // SAFETY: plain system call on a descriptor we hold.
    check(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }, "lock", object)?;
    Ok(Handle::new(fd))
}

#[napi]
pub fn mount_bpffs(path: String) -> AsyncTask<Job<()>> {
    job(move || {
        let object = format!("bpffs at {path}");
        let path = c_string(&path, "mount", &object)?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
        // SAFETY: all strings are NUL-terminated.
        let ret = unsafe { libc::mount(c"bpf".as_ptr(), path.as_ptr(), c"bpf".as_ptr(), flags, c"mode=0700".as_ptr().cast()) };
        check(ret, "mount", object).map(drop)
    })
}

#[napi]
pub fn unmount(path: String) -> AsyncTask<Job<()>> {
    job(move || {
        let object = format!("file system at {path}");
        let path = c_string(&path, "unmount", &object)?;
        // SAFETY: the path is NUL-terminated.
        check(unsafe { libc::umount2(path.as_ptr(), libc::UMOUNT_NOFOLLOW) }, "unmount", object).map(drop)
    })
}

#[napi]
pub fn is_bpffs(path: String) -> napi::Result<bool> {
    let object = format!("file system at {path}");
    let path = c_string(&path, "inspect", &object)?;
    // SAFETY: a plain C struct, written by the call; the path is NUL-terminated.
    let (ret, stat) = unsafe {
        let mut stat: libc::statfs = zeroed();
        (libc::statfs(path.as_ptr(), &mut stat), stat)
    };
    check(ret, "inspect", object)?;
    Ok(stat.f_type == BPFFS)
}

/// The 64-bit id that programs see as bpf_get_current_cgroup_id().
#[napi]
pub fn cgroup_id(path: String) -> napi::Result<BigInt> {
    #[repr(C)]
    struct FileHandle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }
    let object = format!("cgroup {path}");
    let path = c_string(&path, "find", &object)?;
    let mut handle = FileHandle { bytes: 8, kind: 0, id: [0; 8] };
    let mut mount = 0;
    // SAFETY: `handle` has the kernel's layout with room for the 8 bytes it announces.
    let ret =
        unsafe { libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), &raw mut handle, &raw mut mount, 0) };
    check(ret as i32, "find", object)?;
    Ok(BigInt::from(u64::from_ne_bytes(handle.id)))
}
