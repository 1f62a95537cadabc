//! The number by which this network namespace knows another one, by rtnetlink.

use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const AF_NETLINK: i32 = 16;
const SOCK_RAW: i32 = 3;
const SOCK_CLOEXEC: i32 = 0o2000000;
const SOL_SOCKET: i32 = 1;
const SO_RCVTIMEO: i32 = 20;
const NETLINK_ROUTE: i32 = 0;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// Of `struct nlmsghdr`, and of it with `struct rtgenmsg` as it is padded.
const HEADER: usize = 16;
const HEAD: usize = HEADER + 4;

unsafe extern "C" {
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
    fn setsockopt(fd: i32, level: i32, name: i32, value: *const u8, length: u32) -> i32;
    fn send(fd: i32, bytes: *const u8, length: usize, flags: i32) -> isize;
    fn recv(fd: i32, bytes: *mut u8, length: usize, flags: i32) -> isize;
}

/// A new number where it has none.
pub fn number_of(path: &str) -> io::Result<i32> {
    let namespace = File::open(path)?;
    let socket = open()?;
    if let Some(number) = ask(&socket, &namespace)? {
        return Ok(number);
    }
    // Refused when it has got one meanwhile.
    let _ = exchange(&socket, RTM_NEWNSID, NLM_F_ACK, &[(NETNSA_NSID, -1), (NETNSA_FD, namespace.as_raw_fd())]);
    ask(&socket, &namespace)?.ok_or_else(|| Error::from(ErrorKind::NotFound))
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; what comes back is owned below.
    let fd = unsafe { socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let one_second: [i64; 2] = [1, 0];
    // SAFETY: a `struct timeval` of a 64-bit machine, which outlives the call.
    let set = unsafe { setsockopt(fd.as_raw_fd(), SOL_SOCKET, SO_RCVTIMEO, one_second.as_ptr().cast(), 16) };
    if set < 0 { Err(Error::last_os_error()) } else { Ok(fd) }
}

fn ask(socket: &OwnedFd, namespace: &File) -> io::Result<Option<i32>> {
    let answer = exchange(socket, RTM_GETNSID, 0, &[(NETNSA_FD, namespace.as_raw_fd())])?;
    let mut rest = answer.get(HEAD..).unwrap_or_default();
    while let [low, high, kind_low, kind_high, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let value = rest.get(4..8).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        if u16::from_ne_bytes([kind_low, kind_high]) == NETNSA_NSID {
            return Ok(value.map(i32::from_ne_bytes).filter(|number| *number >= 0));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

fn exchange(socket: &OwnedFd, kind: u16, flags: u16, attributes: &[(u16, i32)]) -> io::Result<Vec<u8>> {
    let request = render(kind, flags, attributes);
    // SAFETY: the bytes outlive the call, and their length is theirs.
    let sent = unsafe { send(socket.as_raw_fd(), request.as_ptr(), request.len(), 0) };
    if sent < 0 {
        return Err(Error::last_os_error());
    }
    let mut answer = vec![0; 4096];
    // SAFETY: the kernel writes no more than the length of the buffer.
    let got = unsafe { recv(socket.as_raw_fd(), answer.as_mut_ptr(), answer.len(), 0) };
    let got = usize::try_from(got).map_err(|_| Error::last_os_error())?;
    answer.truncate(got);
    if answer.len() < HEAD {
        return Err(Error::from(ErrorKind::UnexpectedEof));
    }
    if u16::from_ne_bytes([answer[4], answer[5]]) == NLMSG_ERROR {
        let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
        return if code == 0 { Ok(answer) } else { Err(Error::from_raw_os_error(-code)) };
    }
    Ok(answer)
}

fn render(kind: u16, flags: u16, attributes: &[(u16, i32)]) -> Vec<u8> {
    let length = (HEAD + attributes.len() * 8) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; HEAD - 8]);
    for (name, value) in attributes {
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(name.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
    }
    bytes
}
