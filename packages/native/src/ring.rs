//! A ring buffer read by a thread of its own, many records per call into JavaScript.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use libbpf_sys as sys;
use napi::Status;
use napi::bindgen_prelude::{AsyncTask, BigInt, Buffer, FnArgs, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::error::{Failure, Res, last_errno};
use crate::handle::{Handle, Job, job, own};

/// Calls that may wait for the event loop. When it falls behind, the thread stops, the ring fills, and the kernel counts
/// what its programs could not reserve.
const QUEUE: usize = 4;
/// A batch ends here even if records are left: large records must not pile up.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes before each record: its length, then zero.
const HEADER: usize = 8;

/// Wakes a thread that polls, and tells it to end.
pub struct Stop {
    is_set: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    pub fn new() -> Res<Arc<Stop>> {
        // SAFETY: plain system call.
        let event = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }, "create", "eventfd")?;
        Ok(Arc::new(Stop { is_set: AtomicBool::new(false), event }))
    }

    pub fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        let one = 1u64;
        // SAFETY: eight readable bytes, as an eventfd wants.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast::<c_void>(), size_of::<u64>()) };
    }

    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Sleeps until `fd` has something, the stop is set, or the time is over.
    pub fn wait(&self, fd: i32, timeout_ms: i32) {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut both = [poll(fd), poll(self.event.as_raw_fd())];
        // SAFETY: two entries, writable.
        unsafe { libc::poll(both.as_mut_ptr(), both.len() as libc::nfds_t, timeout_ms) };
    }
}

/// A thread that is told to end, and joined anywhere but on the event loop.
pub struct Reader {
    stop: Mutex<Option<Arc<Stop>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reader {
    pub fn start(name: &str, stop: Arc<Stop>, run: impl FnOnce() + Send + 'static) -> Res<Reader> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|error| Failure::new("start", "thread", error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        Ok(Reader { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)) })
    }

    pub fn signal(&self) {
        if let Some(stop) = &*self.stop.lock().unwrap_or_else(PoisonError::into_inner) {
            stop.set();
        }
    }

    /// Gives up its own hold on the eventfd too, which must not wait for the garbage collector.
    pub fn end(&self) -> AsyncTask<Job<()>> {
        self.signal();
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        job(move || {
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            drop(stop);
            Ok(())
        })
    }
}

impl Drop for Reader {
    /// Runs when JavaScript lost the reader, or its worker ended.
    fn drop(&mut self) {
        self.signal();
    }
}

#[napi]
pub struct Ring {
    reader: Reader,
    delivered: Arc<AtomicU64>,
}

struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

/// libbpf's handle of a ring, used by one thread.
struct Consumer {
    ring: *mut sys::ring_buffer,
    batch: Box<Batch>,
}

// SAFETY: made on one thread, then used by another only.
unsafe impl Send for Consumer {}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: made by ring_buffer__new, freed once.
        unsafe { sys::ring_buffer__free(self.ring) };
    }
}

impl Consumer {
    fn new(fd: i32) -> Res<Consumer> {
        let mut batch = Box::new(Batch { bytes: Vec::new(), count: 0 });
        let context = (&raw mut *batch).cast::<c_void>();
        // SAFETY: the box keeps its address for as long as the ring lives.
        let ring = unsafe { sys::ring_buffer__new(fd, Some(take_record), context, std::ptr::null()) };
        if ring.is_null() {
            return Err(Failure::new("read", "ring buffer", last_errno()));
        }
        Ok(Consumer { ring, batch })
    }

    /// Takes up to `max` records; None when the ring is broken.
    fn next(&mut self, max: usize) -> Option<Batch> {
        // SAFETY: the ring is ours; the callback writes only to the batch.
        let ret = unsafe { sys::ring_buffer__consume_n(self.ring, max as sys::size_t) };
        let bytes = std::mem::take(&mut self.batch.bytes);
        let count = std::mem::take(&mut self.batch.count);
        (ret >= 0 || ret == -libc::ENOBUFS).then_some(Batch { bytes, count })
    }
}

unsafe extern "C" fn take_record(context: *mut c_void, data: *mut c_void, size: sys::size_t) -> i32 {
    // SAFETY: the context is the consumer's batch; libbpf gives `size` readable bytes.
    let (batch, record) =
        unsafe { (&mut *context.cast::<Batch>(), std::slice::from_raw_parts(data.cast::<u8>(), size as usize)) };
    batch.bytes.extend_from_slice(&(record.len() as u32).to_ne_bytes());
    batch.bytes.extend_from_slice(&[0; 4]);
    batch.bytes.extend_from_slice(record);
    batch.bytes.resize(batch.bytes.len().next_multiple_of(HEADER), 0);
    batch.count += 1;
    // The record is taken either way; an error only ends the batch.
    if batch.bytes.len() < BATCH_BYTES { 0 } else { -libc::ENOBUFS }
}

/// Starts to read. Every call hands over one buffer of records, each behind its length, padded to 8 bytes.
#[napi]
pub fn read_ring(
    map: &Handle,
    on_batch: Function<'_, FnArgs<(Buffer, u32)>, ()>,
    max_records: u32,
    poll_ms: i32,
) -> napi::Result<Ring> {
    let object = "ring buffer";
    let is_ring = map.shape.as_ref().is_some_and(|shape| shape.kind == sys::BPF_MAP_TYPE_RINGBUF);
    let fd = map.get("read", object)?;
    if !is_ring {
        return Err(Failure::invalid("read", object, "the map is not a ring buffer").into());
    }
    let mut consumer = Consumer::new(fd.as_raw_fd())?;
    let call = on_batch
        .build_threadsafe_function::<Batch>()
        .max_queue_size::<QUEUE>()
        .build_callback(|context| Ok(FnArgs::from((Buffer::from(context.value.bytes), context.value.count))))?;
    let stop = Stop::new()?;
    let delivered = Arc::new(AtomicU64::new(0));
    let max = max_records.clamp(1, 1 << 16) as usize;
    let (thread_stop, thread_delivered) = (stop.clone(), delivered.clone());
    let run = move || {
        // SAFETY: the ring is ours.
        let ready = unsafe { sys::ring_buffer__epoll_fd(consumer.ring) };
        while !thread_stop.is_set() {
            let Some(batch) = consumer.next(max) else { break };
            if batch.count == 0 {
                thread_stop.wait(ready, poll_ms);
                continue;
            }
            let count = u64::from(batch.count);
            if call.call(batch, ThreadsafeFunctionCallMode::Blocking) != Status::Ok {
                break;
            }
            thread_delivered.fetch_add(count, Ordering::Relaxed);
        }
        drop((consumer, fd));
    };
    Ok(Ring { reader: Reader::start("bpfleet-ring", stop, run)?, delivered })
}

#[napi]
impl Ring {
    /// Records handed to JavaScript's queue so far.
    #[napi(getter)]
    pub fn delivered(&self) -> BigInt {
        BigInt::from(self.delivered.load(Ordering::Relaxed))
    }

    /// Ends the thread; resolves when it is gone.
    #[napi]
    pub fn close(&self) -> AsyncTask<Job<()>> {
        self.reader.end()
    }
}
