//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Variable is the environment variable that arms failpoints.
const Variable = "FAILPOINTS"

// action is what an armed failpoint does.
type action struct {
	sleep time.Duration // 0: kill
	at    int           // the time at which it acts, from 1; 0: each time
}

// armed are the failpoints of this process, and how often each was reached.
var armed = struct {
	actions map[Name]action

	mu      sync.Mutex
	reached map[Name]int
}{actions: mustParse(os.Getenv(Variable)), reached: make(map[Name]int)}

// mustParse ends the process if the variable is wrong, because a test of a failpoint that is not
// armed would pass.
func mustParse(text string) map[Name]action {
	actions, err := parse(text)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Variable, err)
		os.Exit(2)
	}
	return actions
}

// parse reads the value of Variable.
func parse(text string) (map[Name]action, error) {
	actions := make(map[Name]action)
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		name, what, _ := strings.Cut(item, "=")
		if !slices.Contains(Names(), Name(name)) {
			return nil, fmt.Errorf("there is no failpoint %q; choose from %v", name, Names())
		}
		var a action
		var err error
		kind, at, counted := strings.Cut(what, "@")
		if counted {
			if a.at, err = strconv.Atoi(at); err != nil || a.at < 1 {
				return nil, fmt.Errorf("%s: the number after @ must be a whole number from 1", item)
			}
		}
		if length, ok := strings.CutPrefix(kind, "sleep("); ok {
			if a.sleep, err = time.ParseDuration(strings.TrimSuffix(length, ")")); err != nil || a.sleep <= 0 {
				return nil, fmt.Errorf("%s: sleep needs a duration, such as sleep(500ms)", item)
			}
		} else if kind != "kill" {
			return nil, fmt.Errorf("%s: the action must be kill or sleep(duration)", item)
		}
		actions[Name(name)] = a
	}
	return actions, nil
}

// Reach acts if the failpoint is armed. A kill ends the process at once, without any deferred function.
func Reach(name Name) {
	a, ok := armed.actions[name]
	if !ok {
		return
	}
	armed.mu.Lock()
	armed.reached[name]++
	n := armed.reached[name]
	armed.mu.Unlock()
	if a.at != 0 && a.at != n {
		return
	}
	if a.sleep > 0 {
		time.Sleep(a.sleep)
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint %s reached at %s\n", name, time.Now().UTC().Format(time.RFC3339Nano))
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal arrives
}
