package devstack

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// Namespace is the only one that the dev server has.
const Namespace = "default"

// TemporalOptions say how to run the dev server.
type TemporalOptions struct {
	// CLI is the path of the Temporal CLI; default that of TemporalCLI.
	CLI string
	// DBFile keeps the data through Kill and Start; without it they live in memory.
	DBFile string
	// UI serves Temporal UI too, on a free port or on UIPort.
	UI     bool
	UIPort int
	// Port is the frontend's; default a free one.
	Port int
	// LogLevel of the server; default "never".
	LogLevel string
	// OnLine, where set, gets each line that the server prints.
	OnLine func(line string)
	// DynamicConfig are extra KEY=JSON settings of the server.
	DynamicConfig []string
}

// Temporal is a running dev server.
type Temporal struct {
	options  TemporalOptions
	httpPort int
	process  *Process
}

// StartTemporal starts the dev server and returns when it serves its namespace.
func StartTemporal(ctx context.Context, options TemporalOptions) (*Temporal, error) {
	if options.CLI == "" {
		var err error
		if options.CLI, err = TemporalCLI(); err != nil {
			return nil, err
		}
	}
	t := &Temporal{options: options}
	ports := []*int{&t.options.Port, &t.httpPort}
	if options.UI {
		ports = append(ports, &t.options.UIPort)
	}
	for _, port := range ports {
		if *port != 0 {
			continue
		}
		var err error
		if *port, err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	if err := t.Start(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// TemporalCLI is the absolute path of the Temporal CLI: $TEMPORAL_CLI, else
// .cache/bin/temporal of this module. The error names the cure where it is missing.
func TemporalCLI() (string, error) {
	path := os.Getenv("TEMPORAL_CLI")
	if path == "" {
		return tool("temporal", "make tools")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the Temporal CLI is missing (run: make tools): %w", err)
	}
	return filepath.Abs(path)
}

// tool is the absolute path of one of this module's pinned tools; cure builds it.
func tool(name, cure string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".cache", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is missing (run: %s): %w", name, cure, err)
	}
	return path, nil
}

// moduleRoot is the root of the main module: the next directory upwards that holds
// the pins of the tools. Other modules lie below it, each with a go.mod of its own.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "tools", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no tools/go.mod in %s or above: run this from within the project", start)
		}
	}
}

// Start starts the server again after Kill, on the same ports and data, and
// waits until it serves its namespace. It does nothing on a running server.
func (t *Temporal) Start(ctx context.Context) error {
	if t.process != nil {
		return nil
	}
	process, err := StartProcess(ctx, ProcessOptions{Path: t.options.CLI, Args: t.args(), OnLine: t.options.OnLine})
	if err != nil {
		return err
	}
	t.process = process
	if err := t.waitServed(ctx); err != nil {
		t.Kill()
		return err
	}
	return nil
}

func (t *Temporal) args() []string {
	o := t.options
	args := []string{
		"server", "start-dev",
		"--ip", loopback,
		"--port", strconv.Itoa(o.Port),
		"--http-port", strconv.Itoa(t.httpPort),
		"--log-level", orDefault(o.LogLevel, "never"),
	}
	if o.UI {
		args = append(args, "--ui-ip", loopback, "--ui-port", strconv.Itoa(o.UIPort))
	} else {
		args = append(args, "--headless")
	}
	if o.DBFile != "" {
		args = append(args, "--db-filename", o.DBFile)
	}
	for _, setting := range o.DynamicConfig {
		args = append(args, "--dynamic-config-value", setting)
	}
	return args
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// askFor bounds one question to a server that may not be up yet.
const askFor = 2 * time.Second

func (t *Temporal) waitServed(ctx context.Context) error {
	return t.process.awaitAnswer(ctx, "namespace "+Namespace, t.ask)
}

// ask reads the namespace and its runs: the first is served before the second.
func (t *Temporal) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c, err := t.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	service := c.WorkflowService()
	if _, err = service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: Namespace}); err != nil {
		return err
	}
	_, err = service.CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: Namespace})
	return err
}

// Client connects to the server; the caller closes it.
func (t *Temporal) Client(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{
		HostPort:  t.Address(),
		Namespace: Namespace,
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// Address is the frontend's host:port, as for TEMPORAL_ADDRESS.
func (t *Temporal) Address() string { return Loopback(t.options.Port) }

// UIURL is the address of Temporal UI, empty where it is not served.
func (t *Temporal) UIURL() string {
	if !t.options.UI {
		return ""
	}
	return "http://" + Loopback(t.options.UIPort)
}

// CPU is the processor time that the server has used so far.
func (t *Temporal) CPU() (time.Duration, error) { return t.process.CPU() }

// Kill ends the server with SIGKILL, as a crash does. Start brings it back.
func (t *Temporal) Kill() {
	if t.process != nil {
		t.process.Kill()
		t.process = nil
	}
}

// Close ends the server.
func (t *Temporal) Close() { t.Kill() }
