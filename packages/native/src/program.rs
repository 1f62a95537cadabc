//! Programs: load from instructions, inspect, run once.

use std::ffi::{CString, c_char};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, BigInt, Buffer, Uint8Array};
use napi_derive::napi;

use crate::error::{Failure, Res, check, printed};
use crate::handle::{Handle, Job, Kind, c_string, expect_kind, job, own};
use crate::system::{attach_type_number, ids, info_by_fd, name_of, number, open_pin, text_of, unless_gone, word};

#[napi(object)]
pub struct ProgramInfo {
    pub id: u32,
    pub r#type: String,
    pub name: String,
    pub tag: String,
    pub map_ids: Vec<u32>,
    pub btf_id: u32,
    /// Milliseconds of the wall clock.
    pub loaded_at_ms: f64,
    pub run_time_ns: BigInt,
    pub run_count: BigInt,
    pub recursion_misses: BigInt,
    pub verified_instructions: u32,
    pub jited_size: u32,
    pub xlated_size: u32,
    pub gpl_compatible: bool,
    pub uid: u32,
    pub ifindex: u32,
}

pub fn type_word(kind: u32) -> String {
    // SAFETY: takes any number.
    word(unsafe { sys::libbpf_bpf_prog_type_str(kind) }, kind)
}

pub fn type_number(text: &str, op: &'static str, object: &str) -> Res<u32> {
    // SAFETY: takes any number.
    number(text, |each| unsafe { sys::libbpf_bpf_prog_type_str(each) })
        .ok_or_else(|| Failure::invalid(op, object, format!("no program type is called {text}")))
}

fn raw_info(fd: &OwnedFd, object: &str) -> Res<sys::bpf_prog_info> {
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut raw: sys::bpf_prog_info = unsafe { zeroed() };
    info_by_fd(fd, &mut raw, "inspect", object)?;
    Ok(raw)
}

fn info(fd: &OwnedFd, object: &str) -> Res<ProgramInfo> {
    let raw = raw_info(fd, object)?;
    let mut map_ids = vec![0u32; raw.nr_map_ids as usize];
    if !map_ids.is_empty() {
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut again: sys::bpf_prog_info = unsafe { zeroed() };
        again.nr_map_ids = map_ids.len() as u32;
        again.map_ids = map_ids.as_mut_ptr() as u64;
        info_by_fd(fd, &mut again, "inspect", object)?;
        map_ids.truncate(again.nr_map_ids as usize);
    }
    Ok(ProgramInfo {
        id: raw.id,
        r#type: type_word(raw.type_),
        name: name_of(&raw.name),
        tag: raw.tag.iter().map(|byte| format!("{byte:02x}")).collect(),
        map_ids,
        btf_id: raw.btf_id,
        loaded_at_ms: wall_clock_ms(raw.load_time),
        run_time_ns: BigInt::from(raw.run_time_ns),
        run_count: BigInt::from(raw.run_cnt),
        recursion_misses: BigInt::from(raw.recursion_misses),
        verified_instructions: raw.verified_insns,
        jited_size: raw.jited_prog_len,
        xlated_size: raw.xlated_prog_len,
        gpl_compatible: raw._bitfield_1.get(0, 1) != 0,
        uid: raw.created_by_uid,
        ifindex: raw.ifindex,
    })
}

/// The kernel counts load times from boot.
fn wall_clock_ms(since_boot_ns: u64) -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    let boot_ms = now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6;
    let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |wall| wall.as_secs_f64() * 1e3);
    (wall_ms - boot_ms + since_boot_ns as f64 / 1e6).round()
}

fn by_id(id: u32) -> Res<OwnedFd> {
    // SAFETY: plain system call.
    own(unsafe { sys::bpf_prog_get_fd_by_id(id) }, "open", format!("program {id}"))
}

#[napi]
pub fn program_by_id(id: u32) -> napi::Result<Handle> {
    Ok(Handle::new(by_id(id)?))
}

#[napi]
pub fn program_by_pin(path: String) -> napi::Result<Handle> {
    let object = format!("program {path}");
    let fd = open_pin(&path, false, &object)?;
    expect_kind(&fd, Kind::Program, "open", &object)?;
    Ok(Handle::new(fd))
}

#[napi]
pub fn program_info(program: &Handle) -> napi::Result<ProgramInfo> {
    Ok(info(&*program.get("inspect", "program")?, "program")?)
}

/// The program holds the map from now on, whether its instructions use it or not (BPF_PROG_BIND_MAP, Linux 5.10).
#[napi]
pub fn bind_map(program: &Handle, map: &Handle) -> napi::Result<()> {
    let program = program.get("bind", "program")?;
    let map = map.get("bind", "map")?;
    // SAFETY: both descriptors are open; no options.
    let ret = unsafe { sys::bpf_prog_bind_map(program.as_raw_fd(), map.as_raw_fd(), std::ptr::null()) };
    Ok(check(ret, "bind", "map to program").map(|_| ())?)
}

/// The instructions as the kernel rewrote them (BPF_PROG_GET_INFO_BY_FD); empty without the privilege to see them.
#[napi]
pub fn program_xlated(program: &Handle) -> napi::Result<Buffer> {
    let fd = program.get("read", "program")?;
    let mut bytes = vec![0u8; raw_info(&fd, "program")?.xlated_prog_len as usize];
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut raw: sys::bpf_prog_info = unsafe { zeroed() };
    raw.xlated_prog_len = bytes.len() as u32;
    raw.xlated_prog_insns = bytes.as_mut_ptr() as u64;
    info_by_fd(&fd, &mut raw, "read", "program")?;
    bytes.truncate(raw.xlated_prog_len as usize);
    Ok(bytes.into())
}

#[napi]
pub fn list_programs() -> AsyncTask<Job<Vec<ProgramInfo>>> {
    job(|| {
        let look = |id: Res<u32>| id.and_then(|id| info(&by_id(id)?, &format!("program {id}")));
        ids(sys::bpf_prog_get_next_id, "list", "programs").filter_map(|id| unless_gone(look(id))).collect()
    })
}

#[napi(object)]
pub struct ProgramSpec {
    pub r#type: String,
    pub name: String,
    pub license: String,
    pub insns: Uint8Array,
    pub expected_attach_type: Option<String>,
    pub flags: Option<u32>,
    pub ifindex: Option<u32>,
    pub btf_fd: Option<i32>,
    pub func_info: Option<Uint8Array>,
    pub func_info_rec_size: Option<u32>,
    pub line_info: Option<Uint8Array>,
    pub line_info_rec_size: Option<u32>,
    pub attach_prog_fd: Option<i32>,
    pub attach_btf_id: Option<u32>,
    pub fd_array: Option<Vec<i32>>,
    pub log_level: Option<u32>,
    pub log_size_max: Option<u32>,
}

#[napi]
pub struct Loaded {
    fd: std::sync::Mutex<Option<OwnedFd>>,
    log: String,
}

#[napi]
impl Loaded {
    /// Gives the descriptor away, once.
    #[napi]
    pub fn take(&self) -> Option<Handle> {
        self.fd.lock().ok()?.take().map(Handle::new)
    }

    #[napi(getter)]
    pub fn log(&self) -> String {
        self.log.clone()
    }
}

/// Everything of a load that must live until the kernel has answered.
struct LoadPlan {
    kind: u32,
    attach_type: u32,
    name: CString,
    license: CString,
    insns: Vec<u8>,
    func_info: Records,
    line_info: Records,
    spec: LoadNumbers,
    fd_array: Vec<i32>,
    object: String,
}

struct LoadNumbers {
    flags: u32,
    ifindex: u32,
    btf_fd: i32,
    attach_prog_fd: i32,
    attach_btf_id: u32,
    log_level: u32,
    log_size_max: usize,
}

struct Records {
    bytes: Vec<u8>,
    size: usize,
}

impl Records {
    fn of(bytes: Option<&Uint8Array>, size: Option<u32>, default: usize, object: &str) -> Res<Records> {
        let bytes = bytes.map_or_else(Vec::new, |bytes| bytes.to_vec());
        let size = size.map_or(default, |size| size as usize);
        if size == 0 || !bytes.len().is_multiple_of(size) {
            return Err(Failure::range(
                "load",
                object,
                format!("{} bytes of debug records are not a multiple of {size}", bytes.len()),
            ));
        }
        Ok(Records { bytes, size })
    }

    fn count(&self) -> u32 {
        (self.bytes.len() / self.size) as u32
    }
}

const INSTRUCTION: usize = 8;
const FIRST_LOG: usize = 1 << 20;
const LOG_SIZE_MAX: usize = 64 << 20;
/// Size of struct bpf_func_info and of struct bpf_line_info.
pub const FUNC_INFO: usize = 8;
pub const LINE_INFO: usize = 16;

/// Loads a program from instructions. The log buffer grows until the whole log fits.
#[napi]
pub fn load_program(spec: ProgramSpec) -> napi::Result<AsyncTask<Job<Loaded>>> {
    let object = format!("program {}", spec.name);
    let insns = spec.insns.to_vec();
    if insns.is_empty() || !insns.len().is_multiple_of(INSTRUCTION) {
        let text = format!("{} bytes of instructions are not a multiple of {INSTRUCTION}", insns.len());
        return Err(Failure::range("load", object, text).into());
    }
    let attach_type = spec.expected_attach_type.as_deref();
    let plan = LoadPlan {
        kind: type_number(&spec.r#type, "load", &object)?,
        attach_type: attach_type.map_or(Ok(0), |text| attach_type_number(text, "load", &object))?,
        name: c_string(&spec.name, "load", &object)?,
        license: c_string(&spec.license, "load", &object)?,
        insns,
        func_info: Records::of(spec.func_info.as_ref(), spec.func_info_rec_size, FUNC_INFO, &object)?,
        line_info: Records::of(spec.line_info.as_ref(), spec.line_info_rec_size, LINE_INFO, &object)?,
        spec: LoadNumbers {
            flags: spec.flags.unwrap_or(0),
            ifindex: spec.ifindex.unwrap_or(0),
            btf_fd: spec.btf_fd.unwrap_or(0),
            attach_prog_fd: spec.attach_prog_fd.unwrap_or(0),
            attach_btf_id: spec.attach_btf_id.unwrap_or(0),
            log_level: spec.log_level.unwrap_or(0),
            log_size_max: spec.log_size_max.map_or(LOG_SIZE_MAX, |size| (size as usize).max(4096)),
        },
        fd_array: spec.fd_array.unwrap_or_default(),
        object,
    };
    Ok(job(move || load(&plan)))
}

fn load(plan: &LoadPlan) -> Res<Loaded> {
    let LoadNumbers { flags, ifindex, btf_fd, attach_prog_fd, attach_btf_id, log_level, log_size_max } = plan.spec;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_prog_load_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    opts.expected_attach_type = plan.attach_type;
    opts.prog_flags = flags;
    opts.prog_ifindex = ifindex;
    opts.prog_btf_fd = btf_fd as u32;
    opts.attach_prog_fd = attach_prog_fd as u32;
    opts.attach_btf_id = attach_btf_id;
    opts.log_level = log_level;
    if btf_fd > 0 {
        for_records(&plan.func_info, &mut opts.func_info, &mut opts.func_info_cnt, &mut opts.func_info_rec_size);
        for_records(&plan.line_info, &mut opts.line_info, &mut opts.line_info_cnt, &mut opts.line_info_rec_size);
    }
    if !plan.fd_array.is_empty() {
        opts.fd_array = plan.fd_array.as_ptr();
    }
    let mut log_size = FIRST_LOG.min(log_size_max);
    loop {
        // With level 0 libbpf asks for the log only after a refusal: these pages stay untouched until then.
        let mut log = vec![0u8; log_size];
        opts.log_buf = log.as_mut_ptr().cast::<c_char>();
        opts.log_size = log_size as u32;
        let insns = plan.insns.as_ptr().cast();
        let count = (plan.insns.len() / INSTRUCTION) as sys::size_t;
        // SAFETY: `plan` and `log` outlive the call; counts and sizes are theirs.
        let (ret, said) = printed(|| unsafe {
            sys::bpf_prog_load(plan.kind, plan.name.as_ptr(), plan.license.as_ptr(), insns, count, &mut opts)
        });
        if ret == -libc::ENOSPC && log_size < log_size_max && log[0] != 0 {
            log_size = log_size.saturating_mul(4).min(log_size_max);
            continue;
        }
        let log = text_of(&log);
        return match own(ret, "load", &plan.object) {
            Ok(fd) => Ok(Loaded { fd: Some(fd).into(), log }),
            Err(failure) if failure.errno == libc::ENOSPC && log_level > 0 => {
                let text = format!("its log does not fit into {log_size} bytes");
                Err(Failure { hint: "no-space", text, ..failure })
            }
            Err(failure) => Err(Failure { log, warnings: said.warnings, ..failure }),
        };
    }
}

fn for_records(records: &Records, at: &mut *const std::ffi::c_void, count: &mut u32, size: &mut u32) {
    if !records.bytes.is_empty() {
        *at = records.bytes.as_ptr().cast();
        *count = records.count();
        *size = records.size as u32;
    }
}

#[napi(object)]
pub struct TestRun {
    pub data: Option<Uint8Array>,
    pub ctx: Option<Uint8Array>,
    pub repeat: Option<u32>,
    pub flags: Option<u32>,
    pub batch_size: Option<u32>,
    pub cpu: Option<u32>,
}

#[napi(object)]
pub struct TestResult {
    pub retval: u32,
    pub data: Buffer,
    pub ctx: Buffer,
    /// Mean of all repeats.
    pub duration_ns: u32,
}

/// What a program may add to a packet: headroom, tailroom, and a page to spare.
const GROWTH: usize = 4096 + 512;

/// BPF_PROG_TEST_RUN.
#[napi]
pub fn test_run(program: &Handle, run: TestRun) -> napi::Result<AsyncTask<Job<TestResult>>> {
    let fd = program.get("run", "program")?;
    let data_in = run.data.map(|data| data.to_vec());
    let mut ctx_in = run.ctx.map(|ctx| ctx.to_vec());
    let (repeat, flags) = (run.repeat.unwrap_or(0), run.flags.unwrap_or(0));
    let (batch_size, cpu) = (run.batch_size.unwrap_or(0), run.cpu.unwrap_or(0));
    Ok(job(move || {
        let kind = raw_info(&fd, "program")?.type_;
        // SAFETY: a plain C struct; zero is the value of every unused field.
        let mut opts: sys::bpf_test_run_opts = unsafe { zeroed() };
        opts.sz = size_of_val(&opts) as sys::size_t;
        opts.repeat = repeat as i32;
        opts.flags = flags;
        opts.batch_size = batch_size;
        opts.cpu = cpu;
        let mut data_out = Vec::new();
        let mut ctx_out = Vec::new();
        if let Some(data) = &data_in {
            opts.data_in = data.as_ptr().cast();
            opts.data_size_in = data.len() as u32;
            // Live frames leave for the device: there is nothing to give back.
            if flags & sys::BPF_F_TEST_XDP_LIVE_FRAMES == 0 {
                data_out = vec![0u8; data.len() + GROWTH];
                opts.data_out = data_out.as_mut_ptr().cast();
                opts.data_size_out = data_out.len() as u32;
            }
        }
        if let Some(ctx) = &mut ctx_in {
            opts.ctx_in = ctx.as_mut_ptr().cast();
            opts.ctx_size_in = ctx.len() as u32;
            // These two refuse an output; syscall programs change the input in place.
            let is_one_way = kind == sys::BPF_PROG_TYPE_RAW_TRACEPOINT || kind == sys::BPF_PROG_TYPE_SYSCALL;
            if !is_one_way && flags & sys::BPF_F_TEST_XDP_LIVE_FRAMES == 0 {
                ctx_out = vec![0u8; ctx.len()];
                opts.ctx_out = ctx_out.as_mut_ptr().cast();
                opts.ctx_size_out = ctx_out.len() as u32;
            }
        }
        // SAFETY: all buffers outlive the call and have the sizes given.
        check(unsafe { sys::bpf_prog_test_run_opts(fd.as_raw_fd(), &mut opts) }, "run", "program")?;
        data_out.truncate(opts.data_size_out as usize);
        ctx_out.truncate(opts.ctx_size_out as usize);
        let ctx = if kind == sys::BPF_PROG_TYPE_SYSCALL { ctx_in.unwrap_or_default() } else { ctx_out };
        Ok(TestResult { retval: opts.retval, data: data_out.into(), ctx: ctx.into(), duration_ns: opts.duration })
    }))
}
