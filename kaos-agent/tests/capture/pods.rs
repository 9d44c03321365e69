//! Pods, told of by hand, with cgroups as the kubelet makes them.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;

use kaos_agent::capture::event::{ContainerInfo, Event, PodInfo, ProcessChange};
use kaos_agent::capture::live::Live;
use kaos_agent::capture::news::{NewsSender, channel};
use kaos_agent::capture::pods::{PodNews, Pods, unified_hierarchy};
use kaos_agent::capture::processes::describe;
use kaos_agent::settings::{PodSelection, Selectors};

use crate::support::{Cgroup, Python, Seen, live};

const CONTAINER: &str = "3f5e0a9c7b1d2e4f60718293a4b5c6d7e8f90123456789abcdef0123456789ab";

/// A UID of its own for each test of this run.
fn uid(test: u32) -> String {
    format!("{:08x}-0000-4000-8000-{test:012x}", std::process::id())
}

fn following() -> (Live, NewsSender<PodNews>) {
    following_with(false)
}

fn following_with(init_containers: bool) -> (Live, NewsSender<PodNews>) {
    let mut live = live(Selectors {
        pods: Some(PodSelection {
            node_name: "node".to_owned(),
            init_containers,
            resolve_services: false,
        }),
        ..Selectors::default()
    });
    let (sender, news): (_, Receiver<PodNews>) = channel(live.bell().expect("a descriptor"));
    let hierarchy = unified_hierarchy().expect("the v2 hierarchy is mounted");
    live.follow_pods(Pods::new(news, hierarchy, init_containers));
    (live, sender)
}

/// A pod's cgroup, and that of its container below it; removed in the other order.
struct PodCgroups {
    container: Cgroup,
    _pod: Cgroup,
}

impl PodCgroups {
    /// As the driver `cgroupfs` names them.
    fn make(uid: &str) -> Self {
        let root = unified_hierarchy().expect("the v2 hierarchy is mounted");
        let pod = Cgroup::make(&root, &format!("pod{uid}"));
        let container = Cgroup::make(&pod.0, CONTAINER);
        Self {
            container,
            _pod: pod,
        }
    }

    /// As the driver `systemd` names them.
    fn make_slice(uid: &str) -> Self {
        let root = unified_hierarchy().expect("the v2 hierarchy is mounted");
        let name = format!("kubepods-besteffort-pod{}.slice", uid.replace('-', "_"));
        let pod = Cgroup::make(&root, &name);
        let container = Cgroup::make(&pod.0, &format!("cri-containerd-{CONTAINER}.scope"));
        Self {
            container,
            _pod: pod,
        }
    }
}

/// A pod with a container that prepares it, and its cgroups; removed in the other order.
struct Prepared {
    uid: String,
    preparing: Cgroup,
    main: Cgroup,
    _pod: Cgroup,
    files: tempfile::TempDir,
}

impl Prepared {
    const MAIN: &str = "4f5e0a9c7b1d2e4f60718293a4b5c6d7e8f90123456789abcdef0123456789ab";

    fn make(uid: String) -> Self {
        let root = unified_hierarchy().expect("the v2 hierarchy is mounted");
        let pod = Cgroup::make(&root, &format!("pod{uid}"));
        Self {
            uid,
            preparing: Cgroup::make(&pod.0, CONTAINER),
            main: Cgroup::make(&pod.0, Self::MAIN),
            _pod: pod,
            files: tempfile::tempdir().expect("a directory"),
        }
    }

    /// What the API server says of such a pod, before and after it knows the ids.
    fn news(uid: &str, knows_ids: bool) -> PodNews {
        let container = |name: &str, id: &str, is_init| ContainerInfo {
            name: name.to_owned(),
            id: knows_ids.then(|| id.to_owned()),
            is_init,
            ..ContainerInfo::default()
        };
        let info = PodInfo {
            containers: vec![
                container("main", Self::MAIN, false),
                container("prepare", CONTAINER, true),
            ],
            ..PodInfo::default()
        };
        told(uid, info)
    }

    /// A process with the mount that the kubelet gives to each container.
    fn start(&self, name: &str, cgroup: &Cgroup) -> Python {
        let directory = format!("pods/{}/containers/{name}", self.uid);
        let directory = self.files.path().join(directory);
        std::fs::create_dir_all(&directory).expect("directories");
        let [file, place] = ["5f3c2a1b", "termination-log"].map(|name| directory.join(name));
        for path in [&file, &place] {
            std::fs::write(path, "").expect("a file");
        }
        let python = Python::start_with_mount(&file, &place);
        cgroup.take(python.pid());
        python
    }
}

/// The names of the containers of the processes that were told of.
fn containers(seen: &Seen) -> BTreeSet<Option<&str>> {
    let described = seen.events.iter().filter_map(|event| match event {
        Event::Process(process) => match &process.change {
            ProcessChange::Described(info) => Some(info.surroundings.container.as_deref()),
            _ => None,
        },
        _ => None,
    });
    described.collect()
}

fn told(uid: &str, info: PodInfo) -> PodNews {
    PodNews {
        uid: uid.to_owned(),
        pod: Some(Box::new(info)),
    }
}

fn request(python: &mut Python, path: &str) {
    python.connect();
    python.run(&format!("a.send(b'GET /{path}'); b.recv(100)"));
}

fn is_told_of(seen: &Seen) -> bool {
    seen.events
        .iter()
        .any(|event| matches!(event, Event::Pod(_)))
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_pod_that_is_known_before_its_container_is_seen_from_its_first_byte() {
    let uid = uid(1);
    let (mut live, sender) = following();
    let mut seen = Seen::default();
    let mut python = Python::start();
    request(&mut python, "before");
    assert!(sender.send(told(&uid, PodInfo::default())));
    seen.until(&mut live, "news", is_told_of);

    // The kubelet makes the pod's cgroup some hundred milliseconds before the first container's.
    let root = unified_hierarchy().expect("the v2 hierarchy is mounted");
    let pod = Cgroup::make(&root, &format!("pod{uid}"));
    let stranger = Cgroup::make(&root, &format!("pod{}", self::uid(99)));
    seen.until(&mut live, "end of the ring", |_| true);
    let container = Cgroup::make(&pod.0, CONTAINER);
    container.take(python.pid());
    request(&mut python, "first");
    let mut other = Python::start();
    stranger.take(other.pid());
    request(&mut other, "stranger");
    request(&mut python, "last");
    seen.until(&mut live, "requests", |seen| {
        seen.count_text("GET /last") == 2
    });
    assert_eq!(seen.count_text("GET /first"), 2);
    assert!(!seen.has_text("before") && !seen.has_text("stranger"));

    // Not labelled any more.
    assert!(sender.send(PodNews {
        uid: uid.clone(),
        pod: None
    }));
    seen.until(
        &mut live,
        "news",
        |seen| matches!(seen.events.last(), Some(Event::Pod(pod)) if pod.pod.is_none()),
    );
    request(&mut python, "unlabelled");
    // And again: what comes now shows that what came before was not captured.
    assert!(sender.send(told(&uid, PodInfo::default())));
    seen.until(&mut live, "news", |seen| {
        matches!(seen.events.iter().rfind(|event| matches!(event, Event::Pod(_))),
            Some(Event::Pod(pod)) if pod.pod.is_some())
    });
    request(&mut python, "again");
    seen.until(&mut live, "request", |seen| {
        seen.count_text("GET /again") == 2
    });
    assert!(!seen.has_text("unlabelled"));
    drop((python, other));
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_pod_that_runs_already_is_seen_from_when_it_is_told_of() {
    let uid = uid(2);
    let cgroups = PodCgroups::make_slice(&uid);
    let mut python = Python::start();
    cgroups.container.take(python.pid());
    let (mut live, sender) = following();
    let mut seen = Seen::default();
    request(&mut python, "before");
    assert!(sender.send(told(&uid, PodInfo::default())));
    seen.until(&mut live, "description", |seen| {
        seen.events.iter().any(|event| {
            matches!(event, Event::Process(process)
                if matches!(&process.change, ProcessChange::Described(info)
                    if info.cgroup.ends_with(&format!("cri-containerd-{CONTAINER}.scope"))))
        })
    });
    request(&mut python, "after");
    seen.until(&mut live, "request", |seen| {
        seen.count_text("GET /after") == 2
    });
    assert!(!seen.has_text("before"));
    drop(python);
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn containers_that_prepare_a_pod_are_left_out() {
    let uid = uid(3);
    let (mut live, sender) = following();
    let mut seen = Seen::default();
    let init = PodInfo {
        containers: vec![ContainerInfo {
            id: Some(CONTAINER.to_owned()),
            is_init: true,
            ..ContainerInfo::default()
        }],
        ..PodInfo::default()
    };
    assert!(sender.send(told(&uid, init)));
    seen.until(&mut live, "news", is_told_of);
    let cgroups = PodCgroups::make(&uid);
    seen.until(&mut live, "end of the ring", |_| true);
    let main = Cgroup::make(
        cgroups.container.0.parent().expect("the pod's"),
        &CONTAINER.replace('3', "4"),
    );
    let mut preparing = Python::start();
    cgroups.container.take(preparing.pid());
    request(&mut preparing, "preparing");
    let mut python = Python::start();
    main.take(python.pid());
    request(&mut python, "main");
    seen.until(&mut live, "request", |seen| {
        seen.count_text("GET /main") == 2
    });
    assert!(!seen.has_text("preparing"));
    drop((python, preparing));
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_container_that_prepares_a_pod_is_left_out_before_its_id_is_told() {
    let uid = uid(4);
    let (mut live, sender) = following();
    let mut seen = Seen::default();
    assert!(sender.send(Prepared::news(&uid, false)));
    seen.until(&mut live, "news", is_told_of);
    let pod = Prepared::make(uid.clone());
    seen.until(&mut live, "end of the ring", |_| true);
    let mut preparing = pod.start("prepare", &pod.preparing);
    request(&mut preparing, "preparing");
    let mut main = pod.start("main", &pod.main);
    request(&mut main, "first");
    seen.until(&mut live, "request", |seen| {
        seen.count_text("GET /first") == 2
    });
    assert_eq!(containers(&seen), BTreeSet::from([Some("main")]));

    assert!(sender.send(Prepared::news(&uid, true)));
    request(&mut preparing, "preparing/still");
    request(&mut main, "last");
    seen.until(&mut live, "request", |seen| {
        seen.count_text("GET /last") == 2
    });
    assert!(!seen.has_text("preparing"));
    drop((main, preparing));
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_container_that_prepares_already_is_left_out_when_its_pod_is_told_of() {
    let uid = uid(5);
    let (mut live, sender) = following();
    let mut seen = Seen::default();
    let pod = Prepared::make(uid.clone());
    let mut preparing = pod.start("prepare", &pod.preparing);
    let mut main = pod.start("main", &pod.main);
    assert!(sender.send(Prepared::news(&uid, false)));
    seen.until(&mut live, "description", |seen| {
        containers(seen).contains(&Some("main"))
    });
    request(&mut preparing, "preparing");
    request(&mut main, "main");
    seen.until(&mut live, "request", |seen| {
        seen.count_text("GET /main") == 2
    });
    assert!(!seen.has_text("preparing"));
    assert_eq!(containers(&seen), BTreeSet::from([Some("main")]));
    drop((main, preparing));
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_container_that_prepares_a_pod_is_seen_where_that_is_wanted() {
    let uid = uid(6);
    let (mut live, sender) = following_with(true);
    let mut seen = Seen::default();
    assert!(sender.send(Prepared::news(&uid, false)));
    seen.until(&mut live, "news", is_told_of);
    let pod = Prepared::make(uid);
    seen.until(&mut live, "end of the ring", |_| true);
    let mut preparing = pod.start("prepare", &pod.preparing);
    request(&mut preparing, "preparing");
    let mut main = pod.start("main", &pod.main);
    request(&mut main, "main");
    seen.until(&mut live, "requests", |seen| {
        seen.count_text("GET /main") == 2
    });
    assert_eq!(seen.count_text("GET /preparing"), 2);
    let both = BTreeSet::from([Some("main"), Some("prepare")]);
    assert_eq!(containers(&seen), both);
    drop((main, preparing));
}

#[test]
#[ignore = "kernel: needs root"]
fn a_pod_is_seen_as_its_processes_see_it() {
    let cgroups = PodCgroups::make(&uid(7));
    let files = tempfile::tempdir().expect("a directory");
    let resolver = files.path().join("resolv.conf");
    std::fs::write(&resolver, "search team.svc.cluster.local cluster.local\n").expect("a file");
    let python = Python::start_with_network("10.99.0.7/32", &resolver);
    let outside = describe(python.pid(), None).surroundings;
    assert_eq!((outside.addresses, outside.search_domain), (None, None));
    cgroups.container.take(python.pid());
    let within = describe(python.pid(), None).surroundings;
    let address = "10.99.0.7".parse().expect("an address");
    assert_eq!(within.addresses, Some(vec![address]));
    let domain = within.search_domain.as_deref();
    assert_eq!(domain, Some("team.svc.cluster.local"));

    let in_nodes_network = Python::start();
    cgroups.container.take(in_nodes_network.pid());
    let within = describe(in_nodes_network.pid(), None).surroundings;
    assert_eq!(within.addresses, None);
    drop((python, in_nodes_network));
}
