package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"genesys-fanout/internal/devstack"
)

// startProcesses starts the real worker and ingest, with settings as a user would give them,
// and waits until both are ready.
func (d *demo) startProcesses(ctx context.Context) (err error) {
	shared := []string{
		"TEMPORAL_ADDRESS=" + d.temporal.Address(),
		"FANOUT_TARGETS=" + d.targetsFile(),
	}
	d.worker, err = d.startProcess(ctx, "worker", 9464, append(shared, "FANOUT_DEAD_LETTERS="+d.deadLetters()))
	if err != nil {
		return err
	}
	d.ingest, err = d.startProcess(ctx, "ingest", 9465, append(shared,
		"GENESYS_API_URL="+d.genesys.URL(),
		"GENESYS_CLIENT_ID="+d.genesys.ClientID(),
		"GENESYS_CLIENT_SECRET="+d.genesys.ClientSecret(),
		"KAFKA_SSL_CA_LOCATION="+d.kafka.CAFile(),
	))
	if err != nil {
		return err
	}
	fmt.Println("\nwaiting until both are ready …")
	for _, p := range []*devstack.Process{d.worker, d.ingest} {
		if err := p.WaitReady(ctx); err != nil { // the error has the last lines of the process
			return err
		}
	}
	return nil
}

func (d *demo) startProcess(ctx context.Context, name string, preferredPort int, env []string) (*devstack.Process, error) {
	port, err := d.freePort(ctx, preferredPort, name)
	if err != nil {
		return nil, err
	}
	addr := "127.0.0.1:" + strconv.Itoa(port)
	env = append(env, "FANOUT_HTTP_ADDR="+addr)
	binary, err := siblingBinary(name)
	if err != nil {
		return nil, err
	}
	// The settings are in a file of mode 0600 and not on the terminal, because the client
	// secret is among them.
	file := filepath.Join(d.dir, name+".env")
	if err := os.WriteFile(file, []byte(shellExports(env)), 0o600); err != nil {
		return nil, err
	}
	fmt.Printf("\n%s, with the settings in %s\n  to run it yourself: . %s && %s\n", binary, file, file, binary)
	return devstack.StartProcess(ctx, devstack.ProcessOptions{Path: binary, Dir: d.dir, Env: env, HTTPAddr: addr})
}

// freePort returns the preferred port or the next free one, which it then prints. It returns
// no port twice.
func (d *demo) freePort(ctx context.Context, preferred int, user string) (int, error) {
	var config net.ListenConfig
	for port := preferred; port < preferred+100; port++ {
		if d.usedPorts[port] { // its process may not listen yet
			continue
		}
		listener, err := config.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if port != preferred {
			fmt.Printf("port %d is in use, so %s listens on port %d\n", preferred, user, port)
		}
		d.usedPorts[port] = true
		return port, listener.Close()
	}
	return 0, fmt.Errorf("%s finds no free port from %d to %d; end the programs that listen there", user, preferred, preferred+99)
}

// shellExports returns settings (NAME=value) as a file that a shell can source.
func shellExports(env []string) string {
	var file strings.Builder
	for _, setting := range env {
		name, value, _ := strings.Cut(setting, "=")
		file.WriteString("export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'\n")
	}
	return file.String()
}

// siblingBinary returns the path of a binary in the folder of this one.
func siblingBinary(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; run: make build", err)
	}
	return path, nil
}

// stopProcesses ends both processes with SIGTERM, ingest first, because it starts new runs.
func (d *demo) stopProcesses() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(stopProcess(ctx, "ingest", d.ingest), stopProcess(ctx, "worker", d.worker))
}

func stopProcess(ctx context.Context, name string, p *devstack.Process) error {
	if p == nil {
		return nil
	}
	code, err := p.Stop(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with exit status %d\n%s", name, code, lastOutput(name, p))
	}
	return err
}

// lastOutput returns the last 20 lines that a process printed.
func lastOutput(name string, p *devstack.Process) string {
	if p == nil {
		return name + " was not started"
	}
	lines := p.Output()
	return "the last output of " + name + ":\n" + strings.Join(lines[max(0, len(lines)-20):], "\n")
}
