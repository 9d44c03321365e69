//! What is read around a process, from the process itself: its pod is known with it, long before the
//! API server tells of it, and its files may be gone with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::event::{CertificateFile, Surroundings};
use super::processes::{MOST_FILE_BYTES, read};
use crate::identity::container::pod_uid;

/// The largest file of certificates that is read: four times that of all public authorities with what
/// is written between them.
const MOST_CERTIFICATES_BYTES: u64 = 1 << 20;

/// What is around the process of this `/proc` directory, with this cgroup and environment.
pub(super) fn of(directory: &Path, cgroup: &str, environment: &[(String, String)]) -> Surroundings {
    let certificates = certificates(directory, environment);
    let Some(pod) = pod_uid(cgroup) else {
        return Surroundings {
            certificates,
            ..Surroundings::default()
        };
    };
    let resolver = read_within(directory, "etc/resolv.conf", MOST_FILE_BYTES).unwrap_or_default();
    Surroundings {
        certificates,
        container: container_name(&read(&directory.join("mountinfo")), &pod),
        addresses: has_own_network(directory).then(|| own_addresses(directory)),
        search_domain: search_domain(&resolver),
    }
}

/// The files of certificates that an environment names, of the process of this `/proc` directory.
#[must_use]
pub fn certificates(directory: &Path, environment: &[(String, String)]) -> Vec<CertificateFile> {
    let paths: BTreeSet<_> = environment
        .iter()
        .filter(|(name, _)| name.ends_with("_CERTIFICATE"))
        .map(|(_, path)| path.trim())
        .filter(|path| !path.is_empty())
        .collect();
    let file = |path: &str| CertificateFile {
        path: path.to_owned(),
        pem: match read_within(directory, path, MOST_CERTIFICATES_BYTES + 1) {
            Ok(text) if text.len() as u64 > MOST_CERTIFICATES_BYTES => {
                Err("it is larger than 1 MiB".to_owned())
            }
            Ok(text) => Ok(only_certificates(&text)),
            Err(error) => Err(error.to_string()),
        },
    };
    paths.into_iter().map(file).collect()
}

/// What is a certificate in a PEM file. Private keys that lie beside them are none of our business.
fn only_certificates(text: &str) -> Bytes {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut kept = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN)
        && let Some(length) = rest[begin..].find(END)
    {
        let end = begin + length + END.len();
        kept.push_str(&rest[begin..end]);
        kept.push('\n');
        rest = &rest[end..];
    }
    kept.into()
}

/// A file of a process, by the path that it has for the process. Whoever made it may have made it to
/// harm us: it cannot lead out of the process's root directory, and nothing waits for it.
fn read_within(directory: &Path, path: &str, most_bytes: u64) -> io::Result<String> {
    let root = fs::File::open(directory.join("root"))?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let beneath = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = fs::File::from(openat2(&root, path, flags, Mode::empty(), beneath)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most_bytes).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a process's network is another than the node's, in which its first process is. One who may
/// not look at that (the agent in the chart may) is taken to be in the node's.
fn has_own_network(directory: &Path) -> bool {
    let network = |process: &Path| fs::metadata(process.join("ns/net")).map(|it| it.ino());
    let nodes = network(Path::new("/proc/1")).or_else(|_| network(Path::new("/proc/self")));
    matches!((network(directory), nodes), (Ok(own), Ok(nodes)) if own != nodes)
}

/// Addresses of a process's network that others may reach it at.
fn own_addresses(directory: &Path) -> Vec<IpAddr> {
    let mut addresses = addresses_of_trie(&read(&directory.join("net/fib_trie")));
    addresses.extend(addresses_of_interfaces(&read(
        &directory.join("net/if_inet6"),
    )));
    addresses.into_iter().collect()
}

/// The local ones in `fib_trie`'s format: a line with the address, and one that says so.
fn addresses_of_trie(trie: &str) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    let mut last = None;
    for line in trie.lines().map(str::trim_start) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            addresses.extend(last.filter(leads_elsewhere));
        }
    }
    addresses
}

/// Those in `if_inet6`'s format: an address of 32 digits, then numbers; the third is 0 for one that holds
/// everywhere.
fn addresses_of_interfaces(interfaces: &str) -> BTreeSet<IpAddr> {
    let address = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let digits = u128::from_str_radix(fields.next()?, 16).ok()?;
        let address = IpAddr::V6(Ipv6Addr::from_bits(digits));
        (fields.nth(2) == Some("00")).then_some(address)
    };
    let addresses = interfaces.lines().filter_map(address);
    addresses.filter(leads_elsewhere).collect()
}

fn leads_elsewhere(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback(),
    }
}

/// The first domain of the list that is searched, in `resolv.conf`'s format: the last list counts.
fn search_domain(resolver: &str) -> Option<String> {
    let mut lists = resolver.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        matches!(words.next(), Some("search" | "domain")).then_some(words)
    });
    let domain = lists.next_back()?.next()?.trim_end_matches('.');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_domain = !domain.is_empty() && domain.len() <= 253 && domain.bytes().all(is_name);
    is_domain.then(|| domain.to_owned())
}

/// Name of the container among whose mounts these are, in `mountinfo`'s format (proc(5)).
///
/// The kubelet binds into each container the file for its termination message, which lies in
/// `pods/UID/containers/NAME/`; what is before that, and where it is mounted, differs.
fn container_name(mounts: &str, pod: &str) -> Option<String> {
    let start = format!("/pods/{pod}/");
    let named = mounts.lines().find_map(|mount| {
        let root = mount.split(' ').nth(3)?;
        // The first is the kubelet's own; below it volumes may have any names.
        let (_, path) = root.split_once(&start)?;
        let (name, file) = path.strip_prefix("containers/")?.split_once('/')?;
        (!name.is_empty() && !file.is_empty()).then_some(name)
    });
    named.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "1a2b3c4d-0000-4444-8888-0123456789ab";

    fn name(mount: &str) -> Option<String> {
        let mounts = format!(
            "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
             {}\n\
             23 27 0:22 / /sys ro,relatime - sysfs sysfs ro\n",
            mount.replace("POD", POD)
        );
        container_name(&mounts, POD)
    }

    #[test]
    fn the_kubelet_names_the_container() {
        for mount in [
            // containerd and CRI-O, on the root file system.
            "812 790 259:1 /var/lib/kubelet/pods/POD/containers/agent/5f3c2a1b /dev/termination-log \
             rw,relatime - ext4 /dev/nvme0n1p1 rw,discard",
            // The kubelet's directory is a file system of its own.
            "2417 2401 8:17 /pods/POD/containers/agent/0e6b1a42 /dev/termination-log rw,noatime - xfs \
             /dev/sdb1 rw,attr2,inode64,noquota",
            // Docker by way of cri-dockerd, on Btrfs.
            "1033 1011 0:35 /@/var/lib/kubelet/pods/POD/containers/agent/9d2f7c10 /dev/termination-log \
             rw,relatime - btrfs /dev/sda2 rw,space_cache=v2,subvolid=256,subvol=/@",
            // kind: the node's /var is a volume of Docker's.
            "1950 1921 254:1 /docker/volumes/0b7f/_data/lib/kubelet/pods/POD/containers/agent/c4e1 \
             /dev/termination-log rw,relatime - ext4 /dev/vda1 rw",
            // The pod says where its message is.
            "812 790 259:1 /var/lib/kubelet/pods/POD/containers/agent/5f3c2a1b /tmp/last\\040words \
             rw,relatime master:1 - ext4 /dev/nvme0n1p1 rw",
        ] {
            assert_eq!(name(mount).as_deref(), Some("agent"), "{mount}");
        }
    }

    #[test]
    fn other_mounts_name_none() {
        for mount in [
            "801 790 259:1 /var/lib/kubelet/pods/POD/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw",
            // A volume with names of the pod's own making.
            "802 790 259:1 /var/lib/kubelet/pods/POD/volumes/kubernetes.io~empty-dir/v/pods/POD/\
             containers/other/x /data rw - ext4 /dev/sda1 rw",
            "803 790 259:1 /var/lib/kubelet/pods/POD/volume-subpaths/v/agent/0 /v rw - ext4 /dev/sda1 rw",
            // Another pod's.
            "804 790 259:1 /var/lib/kubelet/pods/1a2b3c4d-0000-4444-8888-000000000000/containers/other/x \
             /x rw - ext4 /dev/sda1 rw",
            // Cut off, or empty.
            "805 790 259:1 /var/lib/kubelet/pods/POD/containers/age",
            "806 790 259:1 /var/lib/kubelet/pods/POD/containers//x /x rw - ext4 /dev/sda1 rw",
            "",
            "807 790",
        ] {
            assert_eq!(name(mount), None, "{mount}");
        }
    }

    fn texts(addresses: &BTreeSet<IpAddr>) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_those_that_others_may_use() {
        let trie = "Main:\n\
            \x20 +-- 0.0.0.0/0 3 0 5\n\
            \x20    |-- 0.0.0.0\n\
            \x20       /0 universe UNICAST\n\
            \x20    +-- 10.244.0.0/24 2 0 2\n\
            \x20       |-- 10.244.0.0\n\
            \x20          /24 link UNICAST\n\
            \x20       |-- 10.244.0.7\n\
            \x20          /32 host LOCAL\n\
            \x20       |-- 10.244.0.255\n\
            \x20          /32 link BROADCAST\n\
            \x20    +-- 127.0.0.0/8 2 0 2\n\
            \x20          |-- 127.0.0.1\n\
            \x20             /32 host LOCAL\n\
            \x20    |-- 169.254.7.7\n\
            \x20       /32 host LOCAL\n\
            Local:\n\
            \x20       |-- 10.244.0.7\n\
            \x20          /32 host LOCAL\n";
        assert_eq!(texts(&addresses_of_trie(trie)), ["10.244.0.7"]);
        let interfaces = "00000000000000000000000000000001 01 80 10 80       lo\n\
            fd000000000000000000000000000007 04 40 00 82     eth0\n\
            fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
            nonsense\n";
        assert_eq!(texts(&addresses_of_interfaces(interfaces)), ["fd00::7"]);
    }

    #[test]
    fn the_first_domain_of_the_last_list_counts() {
        for (file, domain) in [
            (
                "search team.svc.cluster.local svc.cluster.local cluster.local\n\
                 nameserver 10.96.0.10\noptions ndots:5\n",
                Some("team.svc.cluster.local"),
            ),
            ("domain old\nsearch new.example. x\n", Some("new.example")),
            ("nameserver 10.96.0.10\n# search no\n", None),
            ("search\n", None),
            ("search .\n", None),
            ("search a/b\n", None),
        ] {
            assert_eq!(search_domain(file).as_deref(), domain, "{file}");
        }
    }

    #[test]
    fn files_are_read_within_the_root_directory_and_without_waiting() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("etc")).expect("directories");
        fs::write(directory.path().join("outside"), "secret").expect("a file");
        fs::write(root.join("inside"), "known").expect("a file");
        for (name, target) in [("up", "../../outside"), ("down", "/inside")] {
            std::os::unix::fs::symlink(target, root.join("etc").join(name)).expect("a link");
        }
        let read = |path: &str| read_within(directory.path(), path, 100).ok();
        assert_eq!(read("etc/up"), None);
        assert_eq!(read("etc/down").as_deref(), Some("known"));
        assert_eq!(read("/etc/down").as_deref(), Some("known"));
        assert_eq!(read("etc"), None);
        let pipe = root.join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("a pipe");
        assert_eq!(read("pipe"), None);
    }

    #[test]
    fn outside_of_pods_nothing_is_read() {
        let around = of(Path::new("/proc/self"), "/user.slice", &[]);
        assert_eq!(around, Surroundings::default());
    }

    #[test]
    fn certificates_are_read_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        fs::create_dir(&root).expect("a directory");
        let first = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n";
        let second = first.replace("QQ", "Qg");
        let key = "-----BEGIN PRIVATE KEY-----\nHUSH\n-----END PRIVATE KEY-----\n";
        fs::write(root.join("ca.pem"), format!("# ours\n{first}{key}{second}")).expect("a file");
        let large = "x".repeat(1 + (1 << 20));
        fs::write(root.join("large"), large).expect("a file");
        let environment = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/large"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/absent"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = certificates(directory.path(), &environment);
        let [absent, ca, large] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(ca.path, "/ca.pem");
        assert_eq!(ca.pem, Ok(format!("{first}{second}").into()));
        assert_eq!(large.pem, Err("it is larger than 1 MiB".to_owned()));
        let absent = absent.pem.as_ref().expect_err("it is not there");
        assert!(absent.contains("No such file"), "{absent}");
    }
}
