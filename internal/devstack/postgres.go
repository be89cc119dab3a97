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
	process *Process
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
	if p.process, err = StartProcess(ctx, ProcessOptions{
		Path: filepath.Join(p.bin, "postgres"),
		Args: []string{"-D", data, "-c", "listen_addresses=" + loopback, "-c", "unix_socket_directories=", "-p", strconv.Itoa(p.port)},
		Dir:  data, credential: owner,
		// SIGKILL would leave 1 MB of shared memory allocated each time.
		deathSignal: syscall.SIGQUIT,
	}); err != nil {
		return nil, err
	}
	if err := p.awaitListening(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
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

// query runs a statement and returns its rows as lines, with | between the fields.
func (p *postgres) query(ctx context.Context, database, statement string) (string, error) {
	psql := exec.CommandContext(ctx, filepath.Join(p.bin, "psql"), //nolint:gosec // the path is that of a program of this machine
		"-h", loopback, "-p", strconv.Itoa(p.port), "-U", postgresUser, "-d", database, "-AtXc", statement)
	psql.Env = withDefaults(nil) // without PGOPTIONS and other settings for psql in the environment
	var stderr strings.Builder
	psql.Stderr = &stderr
	out, err := psql.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// cpu returns the processor time of the server and of the processes that it has started.
func (p *postgres) cpu() (time.Duration, error) {
	all, err := p.process.CPU()
	if err != nil {
		return 0, err
	}
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		parent, used, err := cpuOf(filepath.Base(pid))
		if err == nil && parent == strconv.Itoa(p.process.Pid()) { // an error means that the process has ended
			all += used
		}
	}
	return all, nil
}

// close ends the server without a checkpoint, because the data is not needed again.
func (p *postgres) close() {
	if p.process == nil {
		return
	}
	if p.process.Signal(syscall.SIGQUIT) == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = p.process.Wait(ctx)
	}
	p.process.Kill()
}
