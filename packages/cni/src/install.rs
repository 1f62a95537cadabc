//! Puts the plug-in into the network configuration of this node, keeps it there, and takes it out again.
//!
//! A list of plug-ins gets an entry at its end, by which nothing else in the file changes. A configuration of a single
//! plug-in stays as it is: beside it comes a list of both, `NAME.bpfleet.conflist`, which runtimes read before it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::arguments::{Install, Uninstall};
use crate::chain::{self, PLUGIN};
use crate::inotify::FolderWatch;

/// Of lists that we made of single plug-ins.
const MADE: &str = ".bpfleet.conflist";
/// Others write in several steps.
const SETTLE: Duration = Duration::from_millis(20);
/// A look in any case.
const LOOK: Duration = Duration::from_secs(30);
/// So many changes of ours in a `LOOK`, and somebody works against us: then they come no faster.
const MOST_CHANGES: usize = 10;

pub fn install(task: &Install) -> Result<(), String> {
    place_binary(&task.bin_dir)?;
    if !task.watch {
        for said in bring(task)? {
            println!("{said}");
        }
        return Ok(());
    }
    let watch = FolderWatch::open(&task.conf_dir).map_err(|error| failed("watch", &task.conf_dir, &error))?;
    let mut said_last = String::new();
    let mut changes: Vec<Instant> = Vec::new();
    loop {
        let line = match bring(task) {
            Ok(done) => {
                changes.retain(|at| at.elapsed() < LOOK);
                changes.extend(done.iter().map(|_| Instant::now()));
                for each in &done {
                    println!("{each}");
                }
                String::new()
            }
            Err(why) => why,
        };
        if line != said_last && !line.is_empty() {
            eprintln!("warning: {line}");
        }
        said_last = line;
        if changes.len() > MOST_CHANGES {
            eprintln!("warning: something else takes {PLUGIN} out of {} again and again", task.conf_dir.display());
            std::thread::sleep(LOOK);
        }
        watch.wait(LOOK);
        std::thread::sleep(SETTLE);
    }
}

pub fn uninstall(task: &Uninstall) -> Result<(), String> {
    for path in configurations(&task.conf_dir)? {
        if is_made(&path) {
            fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
            println!("removed {}", path.display());
        } else if let Some(text) = chain::remove(&read(&path)?) {
            write_like(&path, &text)?;
            println!("{} is as it was", path.display());
        }
    }
    if !task.keep_binary {
        let binary = task.bin_dir.join(PLUGIN);
        match fs::remove_file(&binary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("remove", &binary, &error)),
            _ => {}
        }
    }
    Ok(())
}

/// What was done, in words; nothing when all is as it is to be.
fn bring(task: &Install) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let all = configurations(&task.conf_dir)?;
    let Some(main) = all.iter().find(|path| !is_made(path)) else {
        return Err(format!("find a network configuration in {}: there is none yet", task.conf_dir.display()));
    };
    let text = read(main)?;
    let is_list = main.extension().is_some_and(|extension| extension == "conflist");
    let changed = if is_list { chain::add(&text, &task.entry) } else { chain::begin(&text, &task.entry) };
    let changed = changed.map_err(|why| format!("add {PLUGIN} to {}: {why}", main.display()))?;
    let target = if is_list { main.clone() } else { main.with_extension(&MADE[1..]) };
    if fs::read_to_string(&target).ok().as_ref() != Some(&changed) {
        if is_list {
            write_like(&target, &changed)?
        } else {
            write(&target, &changed, &metadata(main)?)?
        }
        done.push(format!("added {PLUGIN} to {}", target.display()));
    }
    // Another one came first meanwhile.
    for path in all.iter().filter(|path| **path != target && *path != main) {
        if is_made(path) {
            fs::remove_file(path).map_err(|error| failed("remove", path, &error))?;
            done.push(format!("removed {}", path.display()));
        } else if let Some(text) = fs::read_to_string(path).ok().and_then(|text| chain::remove(&text)) {
            write_like(path, &text)?;
            done.push(format!("removed {PLUGIN} from {}", path.display()));
        }
    }
    Ok(done)
}

/// In the order in which runtimes read them.
fn configurations(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", folder, &error)),
    };
    let is_one = |path: &PathBuf| {
        path.extension().and_then(|extension| extension.to_str()).is_some_and(|each| ["conf", "conflist", "json"].contains(&each))
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_one).collect();
    paths.sort();
    Ok(paths)
}

fn is_made(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(MADE))
}

/// Whole, or not at all: pods start meanwhile.
fn place_binary(folder: &Path) -> Result<(), String> {
    let own = fs::read("/proc/self/exe").map_err(|error| format!("read {PLUGIN} itself: {error}"))?;
    let target = folder.join(PLUGIN);
    if fs::read(&target).is_ok_and(|bytes| bytes == own) {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
    let half = folder.join(format!(".{PLUGIN}.{}", std::process::id()));
    let placed = write_file(&half, &own, 0o755).and_then(|()| fs::rename(&half, &target));
    placed.map_err(|error| {
        let _ = fs::remove_file(&half);
        failed("write", &target, &error)
    })?;
    println!("wrote {}", target.display());
    Ok(())
}

/// Through a link to the file itself, with its mode and owner.
fn write_like(path: &Path, text: &str) -> Result<(), String> {
    let path = fs::canonicalize(path).map_err(|error| failed("find", path, &error))?;
    let like = metadata(&path)?;
    write(&path, text, &like)
}

fn write(path: &Path, text: &str, like: &fs::Metadata) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    // Runtimes look at the ends of names: this one has none.
    let half = folder.join(format!(".{PLUGIN}-{}", std::process::id()));
    let written = write_file(&half, text.as_bytes(), like.mode() & 0o7777)
        .and_then(|()| std::os::unix::fs::chown(&half, Some(like.uid()), Some(like.gid())))
        .and_then(|()| fs::rename(&half, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&half);
        failed("write", path, &error)
    })
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| failed("read", path, &error))
}

fn metadata(path: &Path) -> Result<fs::Metadata, String> {
    fs::metadata(path).map_err(|error| failed("look at", path, &error))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("{what} {}: {error}", path.display())
}
