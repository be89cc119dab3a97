package devstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// postgres is a PostgreSQL server from this machine's packages, with its default durability and a
// data folder of its own.
type postgres struct {
	bin     string // folder of PostgreSQL's programs
	port    int
	options ProcessOptions
	process *Process // nil while the server does not run
}

// postgresUser owns the databases. The server requires no password, because it listens on loopback
// only.
const postgresUser = "temporal"

func startPostgres(ctx context.Context, dir string) (_ *postgres, err error) {
	p := &postgres{}
	if p.bin, err = postgresPrograms(); err != nil {
		return nil, err
	}
	if p.port, err = FreePort(ctx); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	owner, err := unprivilegedUser()
	if err != nil {
		return nil, err
	}
	if err := changeOwner(data, owner); err != nil {
		return nil, err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), //nolint:gosec // the path is that of a program of this machine
		"-D", data, "-U", postgresUser, "--auth=trust", "--encoding=UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = data, &syscall.SysProcAttr{Credential: owner}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w:\n%s", err, out)
	}
	p.options = ProcessOptions{
		Path: filepath.Join(p.bin, "postgres"),
		Args: []string{"-D", data, "-c", "listen_addresses=" + loopback, "-c", "unix_socket_directories=", "-p", strconv.Itoa(p.port)},
		Dir:  data, credential: owner,
		// SIGKILL would leave 1 MB of shared memory allocated each time.
		deathSignal: syscall.SIGQUIT,
	}
	return p, p.Start(ctx)
}

// Start starts the server again after Kill or Stop, on the same port and with the same data, and
// waits until it answers. It does nothing if the server runs.
func (p *postgres) Start(ctx context.Context) (err error) {
	if p.process != nil {
		return nil
	}
	if p.process, err = StartProcess(ctx, p.options); err != nil {
		return err
	}
	if err := p.awaitListening(ctx); err != nil {
		p.Kill()
		return err
	}
	return nil
}

// Stop ends the server in order: it breaks all connections off and writes a checkpoint.
func (p *postgres) Stop(ctx context.Context) error { return p.end(ctx, syscall.SIGINT) }

// Kill ends the server as a crash does: without a checkpoint, so that it recovers from its log when
// it starts. The signal is SIGQUIT, which PostgreSQL calls the immediate mode, because SIGKILL would
// leave the processes of its sessions and their shared memory.
func (p *postgres) Kill() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = p.end(ctx, syscall.SIGQUIT) // it fails only if the server had to be killed
}

func (p *postgres) end(ctx context.Context, signal syscall.Signal) error {
	if p.process == nil {
		return nil
	}
	process := p.process
	p.process = nil
	if err := process.Signal(signal); err != nil {
		return err
	}
	_, err := process.Wait(ctx)
	process.Kill()
	return err
}

// Pause stops the server and the processes of its sessions with SIGSTOP, until Resume.
func (p *postgres) Pause() error { return p.signalAll(syscall.SIGSTOP) }

// Resume ends a pause.
func (p *postgres) Resume() error { return p.signalAll(syscall.SIGCONT) }

// signalAll sends a signal to the server and to the processes that it has started. Each of those has
// a process group of its own.
func (p *postgres) signalAll(signal syscall.Signal) error {
	if p.process == nil {
		return os.ErrProcessDone
	}
	children, err := p.children()
	if err != nil {
		return err
	}
	err = p.process.Signal(signal)
	for pid := range children {
		if e := syscall.Kill(pid, signal); e != nil && !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// postgresPrograms returns the folder of initdb, postgres and psql. It prefers the newest of Debian's
// packages, whose programs are not on PATH, over those on PATH.
func postgresPrograms() (string, error) {
	if dir := newestServer("/usr/lib/postgresql"); dir != "" {
		return dir, nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is missing (install it, for example with: apt-get install postgresql): %w", err)
	}
	path, err = filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}

// newestServer returns the folder of the programs of the highest version below root, or "" if there
// is none. It looks for initdb, because a package of the client contains only psql.
func newestServer(root string) string {
	found, err := filepath.Glob(filepath.Join(root, "*", "bin", "initdb"))
	if err != nil || len(found) == 0 {
		return ""
	}
	version := func(path string) float64 { // a number, because as text 9.6 would be higher than 15
		v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(filepath.Dir(path))), 64)
		return v
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) }))
}

// unprivilegedUser returns the user as which PostgreSQL runs if this process is root, because
// PostgreSQL does not run as root. It returns nil if this process is not root.
func unprivilegedUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(found.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(found.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errUID, errGID)
	}
	return nil, errors.New("PostgreSQL does not run as root, and this machine has neither a user postgres nor a user nobody; create one of them")
}

// changeOwner makes owner, if not nil, the owner of a folder, and gives it access to the parent folder.
func changeOwner(dir string, owner *syscall.Credential) error {
	if owner == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	info, err := os.Stat(parent)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(parent, info.Mode().Perm()|0o011), os.Chown(dir, int(owner.Uid), int(owner.Gid))) //nolint:gosec // others may enter the folder but not list it
}

// awaitListening waits until the server answers a query.
func (p *postgres) awaitListening(ctx context.Context) error {
	return p.process.awaitSuccess(ctx, "port "+strconv.Itoa(p.port), func(ctx context.Context) error {
		_, err := p.query(ctx, "postgres", "select 1")
		return err
	})
}

// children returns the processes that the server has started, with their processor time.
func (p *postgres) children() (map[int]time.Duration, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	found := make(map[int]time.Duration)
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		parent, used, err := cpuOf(filepath.Base(path))
		if err == nil && parent == strconv.Itoa(p.process.Pid()) { // an error means that the process has ended
			found[pid] = used
		}
	}
	return found, nil
}

// cpu returns the processor time of the server and of the processes that it has started.
func (p *postgres) cpu() (time.Duration, error) {
	all, err := p.process.CPU()
	if err != nil {
		return 0, err
	}
	children, err := p.children()
	for _, used := range children {
		all += used
	}
	return all, err
}

// run runs one of PostgreSQL's programs with the arguments by which it connects to the server.
func (p *postgres) run(ctx context.Context, program string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(p.bin, program), //nolint:gosec // the path is that of a program of this machine
		append([]string{"-h", loopback, "-p", strconv.Itoa(p.port), "-U", postgresUser}, args...)...)
	command.Env = withDefaults(nil) // without PGOPTIONS and other settings in the environment
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// query runs a statement and returns its rows as lines, with | between the fields.
func (p *postgres) query(ctx context.Context, database, statement string) (string, error) {
	return p.run(ctx, "psql", "-d", database, "-AtXc", statement)
}
