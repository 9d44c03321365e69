//! Files and users on this very machine; only the attaching is pretended.

use std::cell::RefCell;
use std::process::{Child, Command};
use std::rc::Rc;

use super::site::Place;
use super::*;

/// Finds one function of the C library.
static FINDERS: &[Finder] = &[Finder {
    functions: &["getpid"],
    sites: |image| {
        let address = image.function("getpid").map(|function| function.address);
        let site = address.and_then(|address| {
            Some(Site {
                program: "probe",
                function: "getpid",
                cookie: 1,
                offset: image.offset_of(address)?,
                place: Place {
                    address,
                    emulated: false,
                    inner: false,
                },
            })
        });
        site.into_iter().collect()
    },
}];

/// Counts its links that are held.
#[derive(Default)]
struct Pretended {
    held: Rc<RefCell<Vec<String>>>,
    refuses: bool,
}

struct Held(Rc<RefCell<Vec<String>>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.borrow_mut().pop();
    }
}

impl Attach for Pretended {
    type Link = Held;

    fn attach(&mut self, program: &str, file: &Path, sites: &[&Site]) -> Result<Held, String> {
        assert_eq!((program, sites.len(), sites[0].cookie), ("probe", 1, 1));
        assert!(file.exists());
        if self.refuses {
            return Err("no".to_owned());
        }
        self.held.borrow_mut().push(program.to_owned());
        Ok(Held(Rc::clone(&self.held)))
    }
}

struct Sleeper(Child);

impl Sleeper {
    /// A process that has mapped the C library.
    fn start() -> Self {
        let child = Command::new("sleep").arg("600").spawn().expect("it starts");
        let sleeper = Self(child);
        let start = Instant::now();
        let maps_it = |mapping: &Mapping| mapping.path.to_string_lossy().contains("libc.so");
        while !file::executable_mappings(sleeper.pid()).iter().any(maps_it) {
            assert!(start.elapsed() < Duration::from_secs(60), "it maps nothing");
            std::thread::yield_now();
        }
        sleeper
    }

    fn pid(&self) -> Pid {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Settles as if that much time had gone by.
fn later(uprobes: &mut Uprobes<Held>, by: Duration) {
    uprobes.release(Instant::now() + by);
}

#[test]
fn a_file_is_probed_once_while_somebody_uses_it() {
    let mut attach = Pretended::default();
    let mut uprobes = Uprobes::new(FINDERS, None);
    let (one, two) = (Sleeper::start(), Sleeper::start());
    assert!(uprobes.started(one.pid(), &mut attach));
    assert!(uprobes.started(two.pid(), &mut attach));
    assert_eq!(attach.held.borrow().len(), 1);
    assert_eq!(uprobes.files_of(two.pid()).count(), 1);
    assert_eq!(uprobes.counters().probed_files, 1);

    // A child has what its parent has, and keeps it.
    let child = 4_000_000;
    uprobes.forked(one.pid(), child);
    uprobes.ended(one.pid());
    uprobes.ended(two.pid());
    later(&mut uprobes, LINGER * 2);
    assert_eq!(attach.held.borrow().len(), 1);
    uprobes.ended(child);
    later(&mut uprobes, Duration::ZERO);
    assert_eq!(attach.held.borrow().len(), 1, "others may follow soon");
    later(&mut uprobes, LINGER * 2);
    assert_eq!(attach.held.borrow().len(), 0);
    assert_eq!(uprobes.counters().released_files, 1);
    assert!(uprobes.processes.is_empty());

    // Again, from what is known of the file.
    let files = uprobes.counters().files;
    assert!(uprobes.started(two.pid(), &mut attach));
    assert_eq!(attach.held.borrow().len(), 1);
    assert_eq!(uprobes.counters().files, files);
}

#[test]
fn what_the_kernel_refuses_is_told() {
    let mut attach = Pretended {
        refuses: true,
        ..Pretended::default()
    };
    let mut uprobes = Uprobes::new(FINDERS, None);
    let sleeper = Sleeper::start();
    uprobes.started(sleeper.pid(), &mut attach);
    let file = uprobes.files_of(sleeper.pid()).next().expect("it is known");
    assert_eq!(file.failures, ["probe: no"]);
    assert_eq!(uprobes.counters().refused, 1);
}

#[test]
fn mappings_of_others_cost_nothing() {
    let mut attach = Pretended::default();
    let mut uprobes = Uprobes::new(FINDERS, None);
    let sleeper = Sleeper::start();
    uprobes.pending = file::executable_mappings(sleeper.pid());
    uprobes.settle(&mut attach);
    assert_eq!(uprobes.counters(), &UprobeCounters::default());

    uprobes.processes.insert(sleeper.pid(), BTreeSet::new());
    uprobes.pending = file::executable_mappings(sleeper.pid());
    assert_eq!(uprobes.settle(&mut attach), [sleeper.pid()]);

    // Lost mappings: everything is looked at again, and nothing is new.
    uprobes.rescan = true;
    assert!(uprobes.settle(&mut attach).is_empty());
    assert_eq!(attach.held.borrow().len(), 1);
}
