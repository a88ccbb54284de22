//! Hosts of a private network, each a network namespace with one address, wired to a switch that can lose what it carries.
//!
//! ```text
//!   host one       host two       host three          each: eth0, 10.77.0.N, all of the usual ports free
//!       └──────────────┼──────────────┘
//!                   switch                            a bridge in a namespace of its own; nftables drops here
//! ```
//!
//! Nothing is changed outside these namespaces, so networks of several tests don't meet although all use the same
//! addresses. What is dropped is dropped between the hosts: like in a real network, the sender is not told. Their
//! names hold the process id; what a killed test left behind is removed by the next one. Needs root, Debian's
//! iproute2 and nftables.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::http::Connection;

/// How many of a hundred packets [`Network::lose`] loses in each direction.
pub const LOSS_PERCENT: u8 = 20;

/// The most hosts of one network.
pub const HOSTS_MAX: usize = 100;

/// How every name begins.
const PREFIX: &str = "lictor-";

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// How long a connection to an agent on the same host may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Hosts and their switch. Dropping it removes them.
pub struct Network {
    prefix: String,
    hosts: Vec<Host>,
}

/// One host.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: String,
    /// Its only address beside loopback.
    pub address: Ipv4Addr,
}

impl Network {
    /// A network of `count` hosts that hear each other.
    ///
    /// # Panics
    /// When the machine does not let us make one, with what it said.
    pub fn of(count: usize) -> Network {
        assert!(count <= HOSTS_MAX, "at most {HOSTS_MAX} hosts, not {count}");
        remove_what_is_left_behind();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let host = |number: usize| Host {
            namespace: format!("{prefix}-{number}"),
            address: Ipv4Addr::new(10, 77, 0, u8::try_from(number).expect("at most a hundred")),
        };
        let network = Network { hosts: (1..=count).map(host).collect(), prefix };
        network.make();
        network
    }

    fn make(&self) {
        let switch = self.switch();
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "name", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0"]);
        ip(&["-n", &switch, "link", "set", "dev", "br0", "up"]);
        for (place, host) in self.hosts.iter().enumerate() {
            let (port, inside, address) = (format!("port{place}"), &host.namespace, format!("{}/24", host.address));
            ip(&["netns", "add", inside]);
            ip(&["-n", &switch, "link", "add", "name", &port, "type", "veth", "peer", "name", "eth0", "netns", inside]);
            ip(&["-n", &switch, "link", "set", "dev", &port, "master", "br0", "up"]);
            ip(&["-n", inside, "address", "add", &address, "dev", "eth0"]);
            ip(&["-n", inside, "link", "set", "dev", "lo", "up"]);
            ip(&["-n", inside, "link", "set", "dev", "eth0", "up"]);
        }
        self.nft(&format!(
            "table bridge faults {{
               set cut {{ type ipv4_addr . ipv4_addr; }}
               set no_udp {{ type ipv4_addr . ipv4_addr; }}
               set lossy {{ type ipv4_addr . ipv4_addr; }}
               chain forward {{
                 type filter hook forward priority 0; policy accept;
                 ip saddr . ip daddr @cut drop
                 ip protocol udp ip saddr . ip daddr @no_udp drop
                 ip saddr . ip daddr @lossy numgen random mod 100 < {LOSS_PERCENT} drop
               }}
             }}"
        ));
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    /// A host; the first is 0.
    pub fn host(&self, place: usize) -> &Host {
        &self.hosts[place]
    }

    /// Cuts these hosts off from all others, in both directions. They go on hearing each other.
    pub fn cut_off(&self, side: &[usize]) {
        self.drop_between("cut", side, true, true);
    }

    /// Nobody outside hears these hosts any more; they hear everybody.
    pub fn mute(&self, side: &[usize]) {
        self.drop_between("cut", side, true, false);
    }

    /// These hosts hear nobody outside any more; everybody hears them.
    pub fn deafen(&self, side: &[usize]) {
        self.drop_between("cut", side, false, true);
    }

    /// UDP from and to these hosts is dropped.
    pub fn block_udp(&self, side: &[usize]) {
        self.drop_between("no_udp", side, true, true);
    }

    /// Every packet between two hosts is lost with a chance of [`LOSS_PERCENT`].
    pub fn lose(&self) {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        all.iter().for_each(|place| self.drop_between("lossy", &[*place], true, false));
    }

    /// The switch carries everything again.
    pub fn heal(&self) {
        self.nft("flush set bridge faults cut; flush set bridge faults no_udp; flush set bridge faults lossy");
    }

    fn drop_between(&self, set: &str, side: &[usize], outwards: bool, inwards: bool) {
        let address = |place: usize| self.hosts[place].address;
        let others: Vec<usize> = (0..self.hosts.len()).filter(|place| !side.contains(place)).collect();
        let pairs = side.iter().flat_map(|inside| others.iter().map(|outside| (address(*inside), address(*outside))));
        let directed = pairs.flat_map(|(inside, outside)| {
            let out = outwards.then(|| format!("{inside} . {outside}"));
            out.into_iter().chain(inwards.then(|| format!("{outside} . {inside}")))
        });
        let elements: Vec<String> = directed.collect();
        if !elements.is_empty() {
            self.nft(&format!("add element bridge faults {set} {{ {} }}", elements.join(", ")));
        }
    }

    fn nft(&self, rules: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.switch(), "nft", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut nft = command.spawn().expect("ip can be started: run tests/setup");
        let mut input = nft.stdin.take().expect("standard input is piped");
        input.write_all(rules.as_bytes()).expect("nft reads its rules: run tests/setup");
        drop(input);
        let output = nft.wait_with_output().expect("our own child can be waited for");
        assert!(output.status.success(), "nft: {}\n{rules}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            remove(&host.namespace);
        }
        remove(&self.switch());
    }
}

impl Host {
    /// A command that runs on this host; processes get the id that its child has.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Moves the calling thread to this host: sockets it opens from now on are there.
    ///
    /// # Panics
    /// When the host was removed.
    pub fn enter(&self) {
        let name = File::open(Path::new(NAMES).join(&self.namespace)).expect("the host is there");
        move_into_link_name_space(name.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter namespaces");
    }

    /// Opens a connection to the HTTP API of the agent of this host, from this host.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn connect(&self) -> io::Result<Connection> {
        let connect = || {
            self.enter();
            TcpStream::connect_timeout(&SocketAddr::from((self.address, 8500)), CONNECT_PATIENCE)
        };
        let stream = thread::scope(|scope| scope.spawn(connect).join().expect("connecting does not panic"))?;
        Connection::over(stream)
    }
}

/// A file system of a fixed size for one data directory. Dropping it removes it with all it holds.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// A disk of so many MiB.
    ///
    /// # Panics
    /// When it can't be mounted, with what `mount` said.
    pub fn of(mib: u32) -> SmallDisk {
        remove_what_is_left_behind();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-disk{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a temporary folder can be made");
        let size = format!("size={mib}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path));
        SmallDisk { path }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it to the last byte with a file that [`SmallDisk::make_room`] removes.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file can be made on it");
        let block = vec![0_u8; 64 * 1024];
        while filler.write_all(&block).is_ok() {}
        while filler.write_all(&[0]).is_ok() {}
    }

    /// Takes back what [`SmallDisk::fill`] did.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

fn unmount(path: &Path) {
    // Lazily: a process of a test that failed may still have a file open.
    let _ = Command::new("umount").arg("--lazy").arg(path).status();
    let _ = fs::remove_dir(path);
}

/// Removes a namespace, after whatever still runs in it.
fn remove(namespace: &str) {
    let listed = Command::new("ip").args(["netns", "pids", namespace]).output();
    for process in listed.iter().flat_map(|output| output.stdout.split(|byte| *byte == b'\n')) {
        let number = std::str::from_utf8(process).ok().and_then(|text| text.trim().parse().ok());
        if let Some(process) = number.and_then(rustix::process::Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "delete", namespace]).stderr(Stdio::null()).status();
}

/// Removes what processes made that are no more.
fn remove_what_is_left_behind() {
    let is_orphan = |name: &str| {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
    };
    let orphans = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_orphan(name)).collect()
    };
    orphans(Path::new(NAMES)).iter().for_each(|name| remove(name));
    let temporary = std::env::temp_dir();
    orphans(&temporary).iter().for_each(|name| unmount(&temporary.join(name)));
}

fn ip(words: &[&str]) {
    run(Command::new("ip").args(words));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/setup"));
    assert!(
        output.status.success(),
        "{command:?} failed, and only root may make networks: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
