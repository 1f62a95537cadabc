//! An ELF object: libbpf opens, relocates and loads it; descriptors are handed out as duplicates.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::mem::zeroed;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, Buffer};
use napi_derive::napi;

use crate::error::{Failure, Printed, Res, check, last_errno, printed};
use crate::handle::{Handle, Job, c_string, duplicate, job};
use crate::map::{map_handle, type_word as map_type_word};
use crate::program::{FUNC_INFO, LINE_INFO, type_number, type_word};
use crate::system::{attach_type_number, attach_type_word};

#[napi(object)]
pub struct OpenSpec {
    pub name: Option<String>,
    pub map_pin_dir: Option<String>,
    pub reuse_names: Vec<String>,
    pub reuse_fds: Vec<i32>,
    pub max_entries: HashMap<String, u32>,
    pub autoload: Option<Vec<String>>,
    pub program_types: HashMap<String, ProgramTypeSpec>,
    pub attach_targets: HashMap<String, String>,
    pub kernel_log_level: Option<u32>,
    pub kernel_btf: Option<String>,
}

#[napi(object)]
pub struct ProgramTypeSpec {
    pub r#type: String,
    pub expected_attach_type: Option<String>,
}

#[napi(object)]
pub struct MapDefinition {
    pub name: String,
    pub r#type: String,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
    /// True for .rodata, .data, .bss and .kconfig.
    pub is_internal: bool,
    /// The object asks for LIBBPF_PIN_BY_NAME.
    pub is_pinned_by_name: bool,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
}

#[napi(object)]
pub struct ProgramDefinition {
    pub name: String,
    pub section: String,
    pub r#type: String,
    pub expected_attach_type: Option<String>,
    pub flags: u32,
    pub instruction_count: u32,
    pub is_autoloaded: bool,
}

#[napi(object)]
pub struct Global {
    pub name: String,
    pub section: String,
    pub offset: u32,
    pub size: u32,
    pub type_id: u32,
    /// int, float or bytes: what one element is.
    pub kind: String,
    pub element_size: u32,
    pub count: u32,
    pub is_signed: bool,
}

#[napi(object)]
pub struct MapReference {
    pub fd: i32,
    pub name: String,
}

#[napi(object)]
pub struct Instructions {
    pub insns: Buffer,
    pub func_info: Buffer,
    pub func_info_rec_size: u32,
    pub line_info: Buffer,
    pub line_info_rec_size: u32,
    pub btf: Option<Buffer>,
    pub btf_fd: i32,
    pub license: String,
    pub r#type: String,
    pub expected_attach_type: Option<String>,
    pub flags: u32,
    pub maps: Vec<MapReference>,
    pub needs_module_btf: bool,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    Open,
    Prepared,
    Loaded,
    Failed,
}

struct Inner {
    object: NonNull<sys::bpf_object>,
    name: String,
    license: String,
    stage: Stage,
    logs: HashMap<String, String>,
    pinned_by_name: Vec<String>,
}

// SAFETY: libbpf objects have no thread of their own; the mutex around Inner lets one thread in at a time.
unsafe impl Send for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { sys::bpf_object__close(self.object.as_ptr()) };
    }
}

#[napi]
pub struct Object {
    inner: Arc<Mutex<Option<Inner>>>,
}

/// Text of libbpf's that lives as long as the object.
fn text(at: *const c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: libbpf's strings end with NUL.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

impl Inner {
    fn label(&self) -> String {
        format!("object {}", self.name)
    }

    fn maps(&self) -> impl Iterator<Item = *mut sys::bpf_map> {
        let mut map = std::ptr::null_mut();
        let object = self.object.as_ptr();
        std::iter::from_fn(move || {
            // SAFETY: the object is open while `self` is borrowed by the caller.
            map = unsafe { sys::bpf_object__next_map(object, map) };
            (!map.is_null()).then_some(map)
        })
    }

    fn programs(&self) -> impl Iterator<Item = *mut sys::bpf_program> {
        let mut program = std::ptr::null_mut();
        let object = self.object.as_ptr();
        std::iter::from_fn(move || {
            // SAFETY: the object is open while `self` is borrowed by the caller.
            program = unsafe { sys::bpf_object__next_program(object, program) };
            (!program.is_null()).then_some(program)
        })
    }

    fn find_map(&self, name: &str, op: &'static str) -> Res<*mut sys::bpf_map> {
        // SAFETY: maps of an open object.
        let found = self.maps().find(|&map| unsafe { map_name(map) } == name);
        found.ok_or_else(|| Failure::new(op, format!("map {name} of {}", self.label()), libc::ENOENT))
    }

    fn find_program(&self, name: &str, op: &'static str) -> Res<*mut sys::bpf_program> {
        // SAFETY: programs of an open object.
        let found = self.programs().find(|&program| text(unsafe { sys::bpf_program__name(program) }) == name);
        found.ok_or_else(|| Failure::new(op, format!("program {name} of {}", self.label()), libc::ENOENT))
    }

    /// The map behind a section of globals: libbpf names it after the object, cut to 15 bytes, plus the section.
    fn section_map(&self, section: &str) -> Option<*mut sys::bpf_map> {
        // SAFETY: maps of an open object.
        self.maps().find(|&map| unsafe { sys::bpf_map__is_internal(map) && map_name(map).ends_with(section) })
    }

    fn expect_stage(&self, stage: Stage, op: &'static str, object: String, text: &str) -> Res<()> {
        if self.stage == stage { Ok(()) } else { Err(Failure::invalid(op, object, text)) }
    }

    fn btf(&self) -> *mut sys::btf {
        // SAFETY: the object is open.
        unsafe { sys::bpf_object__btf(self.object.as_ptr()) }
    }

    /// The first error with libbpf's words and the log of the program that was refused.
    fn failure(&self, op: &'static str, errno: i32, said: Printed) -> Failure {
        let (object, log) = match said.refused {
            Some((name, log)) => (format!("program {name}"), log),
            None => (self.label(), String::new()),
        };
        Failure { warnings: said.warnings, log, ..Failure::new(op, object, errno) }
    }
}

unsafe fn map_name(map: *const sys::bpf_map) -> String {
    text(unsafe { sys::bpf_map__name(map) })
}

/// Relocated instructions need these flags too, which libbpf itself adds only on the way to the kernel.
fn flags_of(program: *mut sys::bpf_program) -> u32 {
    // SAFETY: a program of an open object.
    let (flags, section) = unsafe { (sys::bpf_program__flags(program), text(sys::bpf_program__section_name(program))) };
    let kind = section.split('/').next().unwrap_or_default();
    let frags = if kind == "xdp.frags" { sys::BPF_F_XDP_HAS_FRAGS } else { 0 };
    let sleepable = if kind.ends_with(".s") { sys::BPF_F_SLEEPABLE } else { 0 };
    flags | frags | sleepable
}

fn attach_type_of(program: *mut sys::bpf_program) -> Option<String> {
    // SAFETY: a program of an open object.
    let (kind, number) = unsafe { (sys::bpf_program__type(program), sys::bpf_program__expected_attach_type(program)) };
    // Zero is also cgroup_inet_ingress, which only these programs mean by it.
    (number != 0 || kind == sys::BPF_PROG_TYPE_CGROUP_SKB).then(|| attach_type_word(number))
}

#[napi]
impl Object {
    #[napi(factory)]
    pub fn open(elf: &[u8], spec: OpenSpec) -> napi::Result<Object> {
        Ok(Object { inner: Arc::new(Mutex::new(Some(open(elf, &spec)?))) })
    }

    /// Runs on what is open; an object that loads right now is busy.
    fn with<T>(&self, op: &'static str, run: impl FnOnce(&mut Inner) -> Res<T>) -> Res<T> {
        let mut guard = match self.inner.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure {
                    hint: "busy",
                    text: "it is being loaded".into(),
                    ..Failure::new(op, "object", libc::EBUSY)
                });
            }
        };
        guard.as_mut().map_or_else(|| Err(Failure::closed(op, "object")), run)
    }

    fn work<T>(&self, op: &'static str, run: impl FnOnce(&mut Inner) -> Res<T> + Send + 'static) -> AsyncTask<Job<T>>
    where
        T: napi::bindgen_prelude::ToNapiValue + napi::bindgen_prelude::TypeName + Send + 'static,
    {
        let inner = self.inner.clone();
        job(move || {
            let mut guard = inner.lock().unwrap_or_else(PoisonError::into_inner);
            guard.as_mut().map_or_else(|| Err(Failure::closed(op, "object")), run)
        })
    }

    #[napi]
    pub fn maps(&self) -> napi::Result<Vec<MapDefinition>> {
        Ok(self.with("list maps of", |inner| {
            let pinned = &inner.pinned_by_name;
            // SAFETY: maps of an open object.
            let define = |map: *mut sys::bpf_map| unsafe {
                MapDefinition {
                    name: map_name(map),
                    r#type: map_type_word(sys::bpf_map__type(map)),
                    key_size: sys::bpf_map__key_size(map),
                    value_size: sys::bpf_map__value_size(map),
                    max_entries: sys::bpf_map__max_entries(map),
                    flags: sys::bpf_map__map_flags(map),
                    is_internal: sys::bpf_map__is_internal(map),
                    is_pinned_by_name: pinned.contains(&map_name(map)),
                    btf_key_type_id: sys::bpf_map__btf_key_type_id(map),
                    btf_value_type_id: sys::bpf_map__btf_value_type_id(map),
                }
            };
            Ok(inner.maps().map(define).collect())
        })?)
    }

    #[napi]
    pub fn programs(&self) -> napi::Result<Vec<ProgramDefinition>> {
        // SAFETY: programs of an open object.
        let define = |program: *mut sys::bpf_program| unsafe {
            ProgramDefinition {
                name: text(sys::bpf_program__name(program)),
                section: text(sys::bpf_program__section_name(program)),
                r#type: type_word(sys::bpf_program__type(program)),
                expected_attach_type: attach_type_of(program),
                flags: flags_of(program),
                instruction_count: sys::bpf_program__insn_cnt(program) as u32,
                is_autoloaded: sys::bpf_program__autoload(program),
            }
        };
        Ok(self.with("list programs of", |inner| Ok(inner.programs().map(define).collect()))?)
    }

    #[napi(getter)]
    pub fn license(&self) -> napi::Result<String> {
        Ok(self.with("read license of", |inner| Ok(inner.license.clone()))?)
    }

    #[napi]
    pub fn globals(&self) -> napi::Result<Vec<Global>> {
        Ok(self.with("list globals of", |inner| globals(inner))?)
    }

    /// The object's own type information.
    #[napi]
    pub fn btf(&self) -> napi::Result<Buffer> {
        Ok(self.with("read types of", |inner| match raw_btf(inner) {
            Some(bytes) => Ok(bytes),
            None => Err(no_btf("read types of", inner)),
        })?)
    }

    #[napi]
    pub fn set_bytes(&self, section: String, offset: u32, bytes: &[u8]) -> napi::Result<()> {
        Ok(self.with("set", |inner| {
            let object = format!("globals in {section} of {}", inner.label());
            inner.expect_stage(Stage::Open, "set", object.clone(), "it is loaded; write to its map instead")?;
            let map = inner.section_map(&section).ok_or_else(|| Failure::new("set", &object, libc::ENOENT))?;
            let mut size = 0;
            // SAFETY: a map of an open object.
            let at = unsafe { sys::bpf_map__initial_value(map, &mut size) };
            let offset = offset as usize;
            if at.is_null() || offset.checked_add(bytes.len()).is_none_or(|end| end > size as usize) {
                return Err(Failure::range(
                    "set",
                    object,
                    format!("{} bytes at {offset} are not within its {size}", bytes.len()),
                ));
            }
            // SAFETY: the range was just checked; before the load this memory is writable.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast::<u8>().add(offset), bytes.len()) };
            Ok(())
        })?)
    }

    /// Everything up to the verifier: maps exist and instructions are relocated.
    #[napi]
    pub fn prepare(&self) -> AsyncTask<Job<()>> {
        self.work("prepare", |inner| {
            inner.expect_stage(Stage::Open, "prepare", inner.label(), "it was prepared before")?;
            let object = inner.object.as_ptr();
            // SAFETY: the object is open and held by this thread.
            let (ret, said) = printed(|| unsafe { sys::bpf_object__prepare(object) });
            inner.stage = if ret < 0 { Stage::Failed } else { Stage::Prepared };
            if ret < 0 { Err(inner.failure("prepare", ret, said)) } else { Ok(()) }
        })
    }

    #[napi]
    pub fn load(&self) -> AsyncTask<Job<()>> {
        self.work("load", |inner| {
            if inner.stage > Stage::Prepared {
                return Err(Failure::invalid("load", inner.label(), "it was loaded before"));
            }
            let object = inner.object.as_ptr();
            // SAFETY: the object is open and held by this thread.
            let (ret, said) = printed(|| unsafe { sys::bpf_object__load(object) });
            inner.stage = if ret < 0 { Stage::Failed } else { Stage::Loaded };
            if ret < 0 {
                return Err(inner.failure("load", ret, said));
            }
            inner.logs.extend(said.logs);
            Ok(())
        })
    }

    /// What the verifier said of a program, when the object was opened with a log level.
    #[napi]
    pub fn verifier_log(&self, program: String) -> napi::Result<String> {
        Ok(self.with("read log of", |inner| Ok(inner.logs.get(&program).cloned().unwrap_or_default()))?)
    }

    #[napi]
    pub fn map(&self, name: String) -> napi::Result<Handle> {
        Ok(self.with("open", |inner| {
            let object = format!("map {name} of {}", inner.label());
            // SAFETY: a map of an open object.
            let fd = unsafe { sys::bpf_map__fd(inner.find_map(&name, "open")?) };
            if fd < 0 || !matches!(inner.stage, Stage::Prepared | Stage::Loaded) {
                return Err(Failure::invalid("open", object, "the object is not loaded"));
            }
            map_handle(duplicate(fd, "open", &object)?, &object)
        })?)
    }

    #[napi]
    pub fn program(&self, name: String) -> napi::Result<Handle> {
        Ok(self.with("open", |inner| {
            let object = format!("program {name} of {}", inner.label());
            // SAFETY: a program of an open object.
            let fd = unsafe { sys::bpf_program__fd(inner.find_program(&name, "open")?) };
            if fd < 0 || inner.stage != Stage::Loaded {
                return Err(Failure::invalid("open", object, "it is not loaded"));
            }
            Ok(Handle::new(duplicate(fd, "open", &object)?))
        })?)
    }

    /// A program as libbpf would hand it to the kernel. Descriptors in it are the object's: keep it open.
    #[napi]
    pub fn instructions(&self, name: String) -> napi::Result<Instructions> {
        Ok(self.with("read instructions of", |inner| {
            let program = inner.find_program(&name, "read instructions of")?;
            if !matches!(inner.stage, Stage::Prepared | Stage::Loaded) {
                let object = format!("program {name} of {}", inner.label());
                return Err(Failure::invalid("read instructions of", object, "the object is not prepared"));
            }
            Ok(instructions(inner, program))
        })?)
    }

    #[napi]
    pub fn close(&self) -> AsyncTask<Job<()>> {
        let inner = self.inner.clone();
        job(move || {
            let taken = inner.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(taken);
            Ok(())
        })
    }
}

fn open(elf: &[u8], spec: &OpenSpec) -> Res<Inner> {
    let name = spec.name.clone().unwrap_or_else(|| "bpf".into());
    let label = format!("object {name}");
    let c_name = c_string(&name, "open", &label)?;
    let kernel_btf = spec.kernel_btf.as_deref().map(|path| c_string(path, "open", &label)).transpose()?;
    let pin_dir = spec.map_pin_dir.as_deref().map(|dir| c_string(dir, "open", &label)).transpose()?;
    // SAFETY: a plain C struct; zero is the value of every unused field.
    let mut opts: sys::bpf_object_open_opts = unsafe { zeroed() };
    opts.sz = size_of_val(&opts) as sys::size_t;
    opts.object_name = c_name.as_ptr();
    opts.pin_root_path = pin_dir.as_ref().map_or(std::ptr::null(), |dir| dir.as_ptr());
    opts.btf_custom_path = kernel_btf.as_ref().map_or(std::ptr::null(), |path| path.as_ptr());
    opts.kernel_log_level = spec.kernel_log_level.unwrap_or(0);
    // SAFETY: bytes and options outlive the call, after which libbpf has copied what it needs.
    let (object, said) = printed(|| unsafe { sys::bpf_object__open_mem(elf.as_ptr().cast(), elf.len() as sys::size_t, &opts) });
    let errno = last_errno();
    let Some(object) = NonNull::new(object) else {
        // These two say that the object has no BTF where its maps need some.
        let is_btf = ["BTF is required", "legacy map definitions"].iter().any(|words| said.warnings.contains(words));
        let hint = if is_btf { "no-btf" } else { "" };
        let text = if is_btf { "it has no BTF; compile with -g".into() } else { String::new() };
        return Err(Failure { hint, text, warnings: said.warnings, ..Failure::new("open", label, errno) });
    };
    let mut inner =
        Inner { object, name, license: license(elf), stage: Stage::Open, logs: HashMap::new(), pinned_by_name: Vec::new() };
    // SAFETY: maps of an open object.
    inner.pinned_by_name = inner
        .maps()
        .filter(|&map| unsafe { !sys::bpf_map__pin_path(map).is_null() })
        .map(|map| unsafe { map_name(map) })
        .collect();
    configure(&mut inner, spec)?;
    Ok(inner)
}

fn configure(inner: &mut Inner, spec: &OpenSpec) -> Res<()> {
    let label = inner.label();
    if spec.map_pin_dir.is_none() {
        for map in inner.maps() {
            // SAFETY: a map of an open object.
            check(unsafe { sys::bpf_map__set_pin_path(map, std::ptr::null()) }, "open", &label)?;
        }
    }
    for (name, &max_entries) in &spec.max_entries {
        let map = inner.find_map(name, "size")?;
        // SAFETY: a map of an open object.
        check(unsafe { sys::bpf_map__set_max_entries(map, max_entries) }, "size", format!("map {name} of {label}"))?;
    }
    for (name, &fd) in spec.reuse_names.iter().zip(&spec.reuse_fds) {
        let map = inner.find_map(name, "reuse")?;
        // SAFETY: a map of an open object; libbpf duplicates the descriptor.
        let (ret, said) = printed(|| unsafe { sys::bpf_map__reuse_fd(map, fd) });
        let object = format!("map {name} of {label}");
        check(ret, "reuse", object).map_err(|failure| Failure { warnings: said.warnings, ..failure })?;
    }
    for (name, kind) in &spec.program_types {
        let object = format!("program {name} of {label}");
        let program = inner.find_program(name, "type")?;
        // SAFETY: a program of an open object.
        check(unsafe { sys::bpf_program__set_type(program, type_number(&kind.r#type, "type", &object)?) }, "type", &object)?;
        let attach_type = kind.expected_attach_type.as_deref();
        let number = attach_type.map_or(Ok(0), |text| attach_type_number(text, "type", &object))?;
        // SAFETY: as above.
        check(unsafe { sys::bpf_program__set_expected_attach_type(program, number) }, "type", &object)?;
        // libbpf loads xdp.frags/NAME, a section that it does not know, without the flag of xdp.frags.
        // SAFETY: as above.
        check(unsafe { sys::bpf_program__set_flags(program, flags_of(program)) }, "type", &object)?;
    }
    for (name, function) in &spec.attach_targets {
        let object = format!("program {name} of {label}");
        let program = inner.find_program(name, "target")?;
        let function = c_string(function, "target", &object)?;
        // SAFETY: a program of an open object; libbpf looks the name up and keeps its number.
        let (ret, said) = printed(|| unsafe { sys::bpf_program__set_attach_target(program, 0, function.as_ptr()) });
        check(ret, "target", object).map_err(|failure| Failure { warnings: said.warnings, ..failure })?;
    }
    if let Some(wanted) = &spec.autoload {
        for name in wanted {
            inner.find_program(name, "load")?;
        }
        for program in inner.programs() {
            // SAFETY: a program of an open object.
            let name = text(unsafe { sys::bpf_program__name(program) });
            // SAFETY: as above.
            check(unsafe { sys::bpf_program__set_autoload(program, wanted.contains(&name)) }, "open", &label)?;
        }
    }
    Ok(())
}

fn no_btf(op: &'static str, inner: &Inner) -> Failure {
    Failure { hint: "no-btf", text: "it has no BTF; compile with -g".into(), ..Failure::new(op, inner.label(), libc::ENOENT) }
}

fn raw_btf(inner: &Inner) -> Option<Buffer> {
    let btf = inner.btf();
    if btf.is_null() {
        return None;
    }
    let mut size = 0;
    // SAFETY: libbpf's bytes stay while the object is open; they are copied here.
    unsafe {
        let at = sys::btf__raw_data(btf, &mut size);
        (!at.is_null()).then(|| std::slice::from_raw_parts(at.cast::<u8>(), size as usize).to_vec().into())
    }
}

/// Kinds of BTF that matter for globals (linux/btf.h).
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// One type of an object's BTF, followed by the records of its kind.
#[derive(Clone, Copy)]
struct Type(*const sys::btf_type);

impl Type {
    unsafe fn by_id(btf: *const sys::btf, id: u32) -> Option<Type> {
        let at = unsafe { sys::btf__type_by_id(btf, id) };
        (!at.is_null()).then_some(Type(at))
    }

    unsafe fn kind(self) -> u32 {
        (unsafe { (*self.0).info } >> 24) & 0x1f
    }

    unsafe fn length(self) -> usize {
        (unsafe { (*self.0).info } & 0xffff) as usize
    }

    unsafe fn flag(self) -> bool {
        (unsafe { (*self.0).info } >> 31) != 0
    }

    unsafe fn referred(self) -> u32 {
        unsafe { (*self.0).__bindgen_anon_1.type_ }
    }

    unsafe fn size(self) -> u32 {
        unsafe { (*self.0).__bindgen_anon_1.size }
    }

    unsafe fn name(self, btf: *const sys::btf) -> String {
        text(unsafe { sys::btf__name_by_offset(btf, (*self.0).name_off) })
    }

    unsafe fn records<T>(self) -> *const T {
        unsafe { self.0.add(1).cast() }
    }
}

fn globals(inner: &Inner) -> Res<Vec<Global>> {
    let btf = inner.btf();
    if btf.is_null() {
        return Err(no_btf("list globals of", inner));
    }
    let mut found = Vec::new();
    // SAFETY: ids below the count exist, libbpf has checked the records when it parsed them.
    unsafe {
        for id in 1..sys::btf__type_cnt(btf) {
            let Some(section) = Type::by_id(btf, id).filter(|each| each.kind() == kind::DATASEC) else { continue };
            let section_name = section.name(btf);
            let is_data = [".rodata", ".data", ".bss"].iter().any(|prefix| section_name.starts_with(prefix));
            if !is_data || inner.section_map(&section_name).is_none() {
                continue;
            }
            let variables = std::slice::from_raw_parts(section.records::<sys::btf_var_secinfo>(), section.length());
            for variable in variables {
                let Some(var) = Type::by_id(btf, variable.type_).filter(|each| each.kind() == kind::VAR) else { continue };
                let element = element_of(btf, var.referred(), variable.size);
                found.push(Global {
                    name: var.name(btf),
                    section: section_name.clone(),
                    offset: variable.offset,
                    size: variable.size,
                    type_id: var.referred(),
                    kind: element.kind.into(),
                    element_size: element.size,
                    count: element.count,
                    is_signed: element.is_signed,
                });
            }
        }
    }
    Ok(found)
}

struct Element {
    kind: &'static str,
    size: u32,
    count: u32,
    is_signed: bool,
}

/// Follows names and arrays down to what one element is.
unsafe fn element_of(btf: *const sys::btf, mut id: u32, total: u32) -> Element {
    const DEPTH: usize = 32;
    const SIGNED: u32 = 1;
    let mut count = 1u32;
    let whole = Element { kind: "bytes", size: total, count: 1, is_signed: false };
    for _ in 0..DEPTH {
        let Some(each) = (unsafe { Type::by_id(btf, id) }) else { return whole };
        // SAFETY: `by_id` gave a type of this BTF; its kind says what follows it.
        unsafe {
            let size = || each.size();
            match each.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => id = each.referred(),
                kind::ARRAY => {
                    let array = *each.records::<sys::btf_array>();
                    count = count.saturating_mul(array.nelems);
                    id = array.type_;
                }
                kind::INT => {
                    let encoding = (*each.records::<u32>() >> 24) & 0xf;
                    return Element { kind: "int", size: size(), count, is_signed: encoding & SIGNED != 0 };
                }
                kind::ENUM | kind::ENUM64 => return Element { kind: "int", size: size(), count, is_signed: each.flag() },
                kind::FLOAT => return Element { kind: "float", size: size(), count, is_signed: true },
                kind::PTR => return Element { kind: "int", size: 8, count, is_signed: false },
                _ if count > 0 => return Element { kind: "bytes", size: total / count, count, is_signed: false },
                _ => return whole,
            }
        }
    }
    whole
}

/// BPF_LD | BPF_IMM | BPF_DW, and a call.
const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;

fn instructions(inner: &Inner, program: *mut sys::bpf_program) -> Instructions {
    // SAFETY: a program of an object that is prepared; libbpf's arrays have the counts it tells.
    let (insns, func_info, line_info) = unsafe {
        (
            copy(sys::bpf_program__insns(program), sys::bpf_program__insn_cnt(program) as usize),
            copy(sys::bpf_program__func_info(program), sys::bpf_program__func_info_cnt(program) as usize),
            copy(sys::bpf_program__line_info(program), sys::bpf_program__line_info_cnt(program) as usize),
        )
    };
    let (mut referred, mut needs_module_btf, mut at) = (Vec::new(), false, 0);
    while let Some(insn) = insns.get(at..at + 8) {
        let source = insn[1] >> 4;
        let field = |from: usize| i32::from_ne_bytes([insn[from], insn[from + 1], insn[from + 2], insn[from + 3]]);
        if insn[0] == LD_IMM64 {
            if matches!(u32::from(source), sys::BPF_PSEUDO_MAP_FD | sys::BPF_PSEUDO_MAP_VALUE) && !referred.contains(&field(4)) {
                referred.push(field(4));
            }
            at += 8;
        }
        if insn[0] == CALL && u32::from(source) == sys::BPF_PSEUDO_KFUNC_CALL && (insn[2], insn[3]) != (0, 0) {
            needs_module_btf = true;
        }
        at += 8;
    }
    // SAFETY: maps of an open object.
    let name_of =
        |fd: i32| unsafe { inner.maps().find(|&map| sys::bpf_map__fd(map) == fd).map_or_else(String::new, |map| map_name(map)) };
    let btf = inner.btf();
    Instructions {
        insns: insns.into(),
        func_info: func_info.into(),
        func_info_rec_size: FUNC_INFO as u32,
        line_info: line_info.into(),
        line_info_rec_size: LINE_INFO as u32,
        btf: raw_btf(inner),
        // SAFETY: the BTF of an open object.
        btf_fd: if btf.is_null() { -1 } else { unsafe { sys::btf__fd(btf) } },
        license: inner.license.clone(),
        // SAFETY: a program of an open object.
        r#type: type_word(unsafe { sys::bpf_program__type(program) }),
        expected_attach_type: attach_type_of(program),
        flags: flags_of(program),
        maps: referred.into_iter().map(|fd| MapReference { fd, name: name_of(fd) }).collect(),
        needs_module_btf,
    }
}

unsafe fn copy<T>(at: *const T, count: usize) -> Vec<u8> {
    if at.is_null() || count == 0 {
        return Vec::new();
    }
    unsafe { std::slice::from_raw_parts(at.cast::<u8>(), count * size_of::<T>()) }.to_vec()
}

/// The license section, which libbpf reads but does not tell.
fn license(elf: &[u8]) -> String {
    find_section(elf, "license").map_or_else(String::new, crate::system::text_of)
}

/// A section of a 64-bit ELF in this machine's byte order, which libbpf has already accepted.
fn find_section<'a>(elf: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(elf.get(at..at + 2)?.try_into().ok()?) as usize);
    let u32_at = |at: usize| Some(u32::from_ne_bytes(elf.get(at..at + 4)?.try_into().ok()?) as usize);
    let u64_at = |at: usize| usize::try_from(u64::from_ne_bytes(elf.get(at..at.checked_add(8)?)?.try_into().ok()?)).ok();
    let (headers, size, count, names) = (u64_at(40)?, u16_at(58)?, u16_at(60)?, u16_at(62)?);
    let header = |index: usize| headers.checked_add(index.checked_mul(size)?);
    let body = |index: usize| {
        let at = header(index)?;
        let from = u64_at(at.checked_add(24)?)?;
        elf.get(from..from.checked_add(u64_at(at.checked_add(32)?)?)?)
    };
    let names = body(names)?;
    (0..count).find_map(|index| {
        let name = names.get(u32_at(header(index)?)?..)?;
        (name.starts_with(wanted.as_bytes()) && name.get(wanted.len()) == Some(&0)).then(|| body(index))?
    })
}
