//! Waits until something changes in a folder.

use std::ffi::CString;
use std::io::{self, Error};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

const IN_CLOEXEC: i32 = 0o2000000;
const IN_NONBLOCK: i32 = 0o4000;
/// Files are written, moved or deleted there, or the folder is.
const CHANGES: u32 = 0x8 | 0x40 | 0x80 | 0x200 | 0x400 | 0x800;
const POLLIN: i16 = 1;

#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    returned: i16,
}

unsafe extern "C" {
    fn inotify_init1(flags: i32) -> i32;
    fn inotify_add_watch(fd: i32, path: *const std::ffi::c_char, mask: u32) -> i32;
    fn poll(descriptors: *mut PollFd, count: std::ffi::c_ulong, timeout_ms: i32) -> i32;
    fn read(fd: i32, bytes: *mut u8, length: usize) -> isize;
}

pub struct FolderWatch(OwnedFd);

impl FolderWatch {
    pub fn open(folder: &Path) -> io::Result<Self> {
        // SAFETY: plain numbers; what comes back is owned below.
        let fd = unsafe { inotify_init1(IN_CLOEXEC | IN_NONBLOCK) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the path ends with a zero and outlives the call.
        let watch = unsafe { inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), CHANGES) };
        if watch < 0 { Err(Error::last_os_error()) } else { Ok(Self(fd)) }
    }

    /// Until something changed since the last call, or the time is over.
    pub fn wait(&self, timeout: Duration) {
        let mut descriptor = PollFd { fd: self.0.as_raw_fd(), events: POLLIN, returned: 0 };
        // SAFETY: one descriptor, which outlives the call.
        unsafe { poll(&mut descriptor, 1, i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)) };
        let mut events = [0; 4096];
        // SAFETY: the kernel writes no more than the length of the buffer.
        while unsafe { read(self.0.as_raw_fd(), events.as_mut_ptr(), events.len()) } > 0 {}
    }
}
