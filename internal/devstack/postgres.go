package devstack

import (
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

// postgres is a PostgreSQL server of this machine with its usual durability, on
// a folder of its own.
type postgres struct {
	bin     string // folder of its programs
	port    int
	process *Process
}

// postgresUser owns the database; on loopback nobody is asked for a password.
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
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if err := owner.own(data); err != nil {
		return nil, err
	}
	initdb := owner.command(filepath.Join(p.bin, "initdb"), "-D", data, "-U", postgresUser, "--auth=trust", "--encoding=UTF8", "--locale=C")
	if out, err := exec.CommandContext(ctx, initdb[0], initdb[1:]...).CombinedOutput(); err != nil { //nolint:gosec // a program of this machine
		return nil, fmt.Errorf("initdb: %w:\n%s", err, out)
	}
	serve := owner.command(filepath.Join(p.bin, "postgres"), "-D", data,
		"-c", "listen_addresses="+loopback, "-c", "unix_socket_directories=", "-p", strconv.Itoa(p.port))
	if p.process, err = StartProcess(ctx, ProcessOptions{Path: serve[0], Args: serve[1:], Dir: data}); err != nil {
		return nil, err
	}
	if err := p.listens(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// postgresPrograms is the folder of initdb, postgres and psql: the newest of
// Debian's, which are not on PATH, else that of PATH.
func postgresPrograms() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/psql")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(slices.Max(found)), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is missing (install it, as with: apt-get install postgresql): %w", err)
	}
	path, err = filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}

// account is whom PostgreSQL runs as: it refuses root.
type account struct {
	uid, gid int
	change   bool
}

func unprivileged() (account, error) {
	if os.Getuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		a := account{change: true}
		var errUID, errGID error
		a.uid, errUID = strconv.Atoi(found.Uid)
		a.gid, errGID = strconv.Atoi(found.Gid)
		return a, errors.Join(errUID, errGID)
	}
	return account{}, errors.New("PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody")
}

// own gives a folder to the account and lets it reach it.
func (a account) own(dir string) error {
	if !a.change {
		return nil
	}
	parent := filepath.Dir(dir)
	info, err := os.Stat(parent)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(parent, info.Mode().Perm()|0o011), os.Chown(dir, a.uid, a.gid)) //nolint:gosec // to pass through, not to read
}

// command runs a program as the account. A change of user clears the wish to end
// with the parent, so setpriv sets it again.
func (a account) command(path string, args ...string) []string {
	line := append([]string{path}, args...)
	if !a.change {
		return line
	}
	return append([]string{
		"setpriv", "--reuid=" + strconv.Itoa(a.uid), "--regid=" + strconv.Itoa(a.gid), "--clear-groups", "--pdeathsig=KILL", "--",
	}, line...)
}

func (p *postgres) listens(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyFor)
	defer cancel()
	for {
		_, err := p.query(ctx, "postgres", "select 1")
		if err == nil {
			return nil
		}
		select {
		case <-p.process.Done():
			return p.process.errEnded("its port " + strconv.Itoa(p.port))
		default:
		}
		if !pause(ctx) {
			return p.process.errLate("its port "+strconv.Itoa(p.port), errors.Join(ctx.Err(), err))
		}
	}
}

// query runs a statement and returns its rows as lines, fields between |.
func (p *postgres) query(ctx context.Context, database, statement string) (string, error) {
	psql := exec.CommandContext(ctx, filepath.Join(p.bin, "psql"), //nolint:gosec // a program of this machine
		"-h", loopback, "-p", strconv.Itoa(p.port), "-U", postgresUser, "-d", database, "-AtXc", statement)
	out, err := psql.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// cpu is the processor time of the server and all that it has started.
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
		if err == nil && parent == strconv.Itoa(p.process.Pid()) { // else it has ended meanwhile
			all += used
		}
	}
	return all, nil
}

// close shuts down at once: nobody needs the data again.
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
