//! An ELF object: libbpf opens, relocates and loads it; descriptors are handed out as duplicates.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use libbpf_sys as sys;
use napi::bindgen_prelude::{AsyncTask, Buffer};
use napi_derive::napi;

use crate::error::{Failure, Printed, Res, printed};
use crate::handle::{Handle, Job, duplicate, job};
use crate::map::{map_handle, type_word as map_type_word};
use crate::object_code::{Instructions, attach_type_of, flags_of, instructions};
use crate::object_globals::{Global, globals};
use crate::object_open::{OpenSpec, open};
use crate::program::type_word;

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

#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    Open,
    Prepared,
    Loaded,
    Failed,
}

pub(crate) struct Inner {
    pub(crate) object: NonNull<sys::bpf_object>,
    pub(crate) name: String,
    pub(crate) license: String,
    pub(crate) stage: Stage,
    pub(crate) logs: HashMap<String, String>,
    pub(crate) pinned_by_name: Vec<String>,
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
pub(crate) fn text(at: *const c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: libbpf's strings end with NUL.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

impl Inner {
    pub(crate) fn label(&self) -> String {
        format!("object {}", self.name)
    }

    pub(crate) fn maps(&self) -> impl Iterator<Item = *mut sys::bpf_map> {
        let mut map = std::ptr::null_mut();
        let object = self.object.as_ptr();
        std::iter::from_fn(move || {
            // SAFETY: the object is open while `self` is borrowed by the caller.
            map = unsafe { sys::bpf_object__next_map(object, map) };
            (!map.is_null()).then_some(map)
        })
    }

    pub(crate) fn programs(&self) -> impl Iterator<Item = *mut sys::bpf_program> {
        let mut program = std::ptr::null_mut();
        let object = self.object.as_ptr();
        std::iter::from_fn(move || {
            // SAFETY: the object is open while `self` is borrowed by the caller.
            program = unsafe { sys::bpf_object__next_program(object, program) };
            (!program.is_null()).then_some(program)
        })
    }

    pub(crate) fn find_map(&self, name: &str, op: &'static str) -> Res<*mut sys::bpf_map> {
        // SAFETY: maps of an open object.
        let found = self.maps().find(|&map| unsafe { map_name(map) } == name);
        found.ok_or_else(|| Failure::new(op, format!("map {name} of {}", self.label()), libc::ENOENT))
    }

    pub(crate) fn find_program(&self, name: &str, op: &'static str) -> Res<*mut sys::bpf_program> {
        // SAFETY: programs of an open object.
        let found = self.programs().find(|&program| text(unsafe { sys::bpf_program__name(program) }) == name);
        found.ok_or_else(|| Failure::new(op, format!("program {name} of {}", self.label()), libc::ENOENT))
    }

    /// The map behind a section of globals: libbpf names it after the object, cut to 15 bytes, plus the section.
    pub(crate) fn section_map(&self, section: &str) -> Option<*mut sys::bpf_map> {
        // SAFETY: maps of an open object.
        self.maps().find(|&map| unsafe { sys::bpf_map__is_internal(map) && map_name(map).ends_with(section) })
    }

    fn expect_stage(&self, stage: Stage, op: &'static str, object: String, text: &str) -> Res<()> {
        if self.stage == stage { Ok(()) } else { Err(Failure::invalid(op, object, text)) }
    }

    pub(crate) fn btf(&self) -> *mut sys::btf {
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

pub(crate) unsafe fn map_name(map: *const sys::bpf_map) -> String {
    text(unsafe { sys::bpf_map__name(map) })
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

pub(crate) fn no_btf(op: &'static str, inner: &Inner) -> Failure {
    Failure { hint: "no-btf", text: "it has no BTF; compile with -g".into(), ..Failure::new(op, inner.label(), libc::ENOENT) }
}

pub(crate) fn raw_btf(inner: &Inner) -> Option<Buffer> {
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
