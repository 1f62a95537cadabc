//! A netlink socket: bytes out, bytes in; the messages are decoded elsewhere.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use napi::Status;
use napi::bindgen_prelude::{AsyncTask, Buffer, FnArgs, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::error::{Failure, Res, check, last_errno};
use crate::handle::{Handle, Job, job, own};
use crate::netns::{descriptor, within};
use crate::ring::{Reader, Stop};

const RECEIVE_BUFFER: i32 = 4 << 20;
const OBJECT: &str = "netlink socket";

#[napi(object)]
pub struct NetlinkSpec {
    pub protocol: i32,
    pub groups: Vec<u32>,
    /// Datagrams that may wait in JavaScript before the socket is left to fill.
    pub window: u32,
    /// Events of all namespaces that have a number in this one come too.
    pub all_namespaces: bool,
}

/// NETLINK_LISTEN_ALL_NSID: an option, and the number that comes beside each datagram of another namespace.
const LISTEN_ALL: i32 = 8;
/// The datagram is from the socket's own namespace.
const OWN: i32 = -1;

/// Datagrams that JavaScript has not taken yet.
struct Window {
    waiting: Mutex<u32>,
    changed: Condvar,
    limit: u32,
}

impl Window {
    fn enter(&self, stop: &Stop) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while *waiting >= self.limit && !stop.is_set() {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        *waiting += 1;
    }

    fn leave(&self, count: u32) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = waiting.saturating_sub(count);
        self.changed.notify_one();
    }
}

#[napi]
pub struct Netlink {
    socket: Handle,
    reader: Reader,
    window: Arc<Window>,
}

fn set_option(socket: &OwnedFd, level: i32, option: i32, value: i32) -> Res<()> {
    let at = (&raw const value).cast();
    // SAFETY: four readable bytes.
    let ret = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, at, size_of::<i32>() as u32) };
    check(ret, "configure", OBJECT).map(drop)
}

fn open(spec: &NetlinkSpec) -> Res<OwnedFd> {
    // SAFETY: plain system call.
    let socket =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, spec.protocol) };
    let socket = own(socket, "open", OBJECT)?;
    // Beyond net.core.rmem_max with the privilege, up to it without.
    if set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER).is_err() {
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
    }
    set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1)?;
    set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
    // Kernels before 4.20 do not know it; dumps are then unfiltered.
    let _ = set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
    if spec.all_namespaces {
        set_option(&socket, libc::SOL_NETLINK, LISTEN_ALL, 1)?;
    }
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    // SAFETY: an address of the size given.
    let ret = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) };
    check(ret, "bind", OBJECT)?;
    for &group in &spec.groups {
        set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group as i32)?;
    }
    Ok(socket)
}

/// One datagram, whole whatever its size, and the number of the namespace that it is from.
fn receive(socket: &OwnedFd) -> Result<(Vec<u8>, i32), i32> {
    let peek = libc::MSG_PEEK | libc::MSG_TRUNC;
    // SAFETY: no bytes are written with a length of zero.
    let size = unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), 0, peek) };
    if size < 0 {
        return Err(last_errno());
    }
    let mut bytes = vec![0u8; size as usize];
    // Room for one number beside the datagram, aligned as the kernel writes it.
    let mut beside = [0u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = beside.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&beside) as _;
    // SAFETY: both buffers are writable for their lengths.
    let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    if read < 0 {
        return Err(last_errno());
    }
    bytes.truncate(read as usize);
    Ok((bytes, namespace_of(&message)))
}

fn namespace_of(message: &libc::msghdr) -> i32 {
    // SAFETY: the kernel filled the control buffer; the macros stay inside what it said to be filled.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(message);
        while !at.is_null() {
            if (*at).cmsg_level == libc::SOL_NETLINK && (*at).cmsg_type == LISTEN_ALL {
                return libc::CMSG_DATA(at).cast::<i32>().read_unaligned();
            }
            at = libc::CMSG_NXTHDR(message, at);
        }
    }
    OWN
}

struct Event {
    bytes: Vec<u8>,
    errno: i32,
    namespace: i32,
}

/// Opens a socket, in another namespace if one is given, and calls with (datagram, 0, namespace) or (empty, errno, -1).
#[napi]
pub fn open_netlink(
    spec: NetlinkSpec,
    netns: Option<&Handle>,
    on_event: Function<'_, FnArgs<(Buffer, i32, i32)>, ()>,
) -> napi::Result<Netlink> {
    let limit = spec.window.max(1);
    let socket = Arc::new(within(descriptor(netns)?, || open(&spec))?);
    let call = on_event
        .build_threadsafe_function::<Event>()
        .max_queue_size::<4>()
        .build_callback(|context| {
            let Event { bytes, errno, namespace } = context.value;
            Ok(FnArgs::from((Buffer::from(bytes), errno, namespace)))
        })?;
    let window = Arc::new(Window { waiting: Mutex::new(0), changed: Condvar::new(), limit });
    let stop = Stop::new()?;
    let handle = Handle::shared(socket.clone());
    let (thread_stop, thread_window) = (stop.clone(), window.clone());
    let run = move || {
        while !thread_stop.is_set() {
            let event = match receive(&socket) {
                Ok((bytes, namespace)) => Event { bytes, errno: 0, namespace },
                Err(libc::EAGAIN) => {
                    thread_stop.wait(socket.as_raw_fd(), -1);
                    continue;
                }
                Err(libc::EINTR) => continue,
                Err(errno) => Event { bytes: Vec::new(), errno, namespace: OWN },
            };
            // The kernel reports lost messages once, then goes on; every other error is the end.
            let is_last = event.errno != 0 && event.errno != libc::ENOBUFS;
            thread_window.enter(&thread_stop);
            if thread_stop.is_set() || call.call(event, ThreadsafeFunctionCallMode::Blocking) != Status::Ok || is_last {
                break;
            }
        }
    };
    Ok(Netlink { socket: handle, reader: Reader::start("bpfleet-netlink", stop, run)?, window })
}

#[napi]
impl Netlink {
    /// Off the event loop: the kernel carries a request out before the call returns.
    #[napi]
    pub fn send(&self, bytes: &[u8]) -> napi::Result<AsyncTask<Job<()>>> {
        let socket = self.socket.get("send to", OBJECT)?;
        let bytes = bytes.to_vec();
        Ok(job(move || {
            // SAFETY: the bytes are readable for their length; the descriptor is held by this closure.
            let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
            if sent < 0 { Err(Failure::last("send to", OBJECT)) } else { Ok(()) }
        }))
    }

    /// JavaScript took so many events.
    #[napi]
    pub fn taken(&self, count: u32) {
        self.window.leave(count);
    }

    #[napi]
    pub fn close(&self) -> AsyncTask<Job<()>> {
        self.socket.close_now();
        let end = self.reader.end();
        self.window.leave(0);
        end
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.reader.signal();
        self.window.leave(0);
    }
}
