package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"genesys-fanout/event"
)

// targetsDir has an empty file for each target that ever had a record. With this list, the
// open records of one event are found by a stat for each target, without a pass over all
// records.
const targetsDir = "targets"

// Targets returns the names of the targets that ever had a record, sorted. A target stays
// in the list after its last record is closed.
func (t *Tracker) Targets(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(t.path, targetsDir))
	if errors.Is(err, fs.ErrNotExist) { // no worker of this version has opened the tracker yet
		return t.targetsOfOpenFiles(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("list the targets of the tracker: %w", t.unavailableOr(err))
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, t.verifyIdentity()
}

// targetsOfOpenFiles finds the targets by a pass over the open records.
func (t *Tracker) targetsOfOpenFiles(ctx context.Context) ([]string, error) {
	names := make(map[string]bool)
	for name, err := range t.openFiles(ctx) {
		if err != nil {
			return nil, err
		}
		if target, ok := targetOfFile(name); ok {
			names[target] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// OpenTargets returns the targets for which an event has an open record, sorted. A damaged
// record counts. The named targets are checked even if the list of targets lacks them, as it
// may after a restore from a backup.
func (t *Tracker) OpenTargets(ctx context.Context, eventID string, named ...string) ([]string, error) {
	names, err := t.Targets(ctx)
	if err != nil {
		return nil, err
	}
	names = slices.Concat(names, named)
	slices.Sort(names)
	var open []string
	for _, target := range slices.Compact(names) {
		_, err := os.Stat(t.File(target, eventID))
		if err == nil {
			open = append(open, target)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look for dead letters: %w", t.unavailableOr(err))
		}
	}
	return open, t.verifyIdentity()
}

// targetOfFile returns the target in a file name. ok is false if the name does not begin
// with the name of a target. The name of a target always comes from targets.yaml or this
// program, never from a message.
func targetOfFile(file string) (target string, ok bool) {
	for _, reserved := range event.ReservedTargets() { // only their names contain an underscore
		if strings.HasPrefix(file, reserved+"_") {
			return reserved, true
		}
	}
	target, _, found := strings.Cut(file, "_")
	return target, found && event.ValidTargetName(target)
}

// addTarget adds a target to the list, and fsyncs it. It is called before a record gets its
// name, so that OpenTargets finds every record, also after a crash.
func (t *Tracker) addTarget(target string) error {
	name := event.EscapeFileName(target)
	file := filepath.Join(t.path, targetsDir, name)
	_, err := os.Stat(file)
	if err == nil {
		if _, synced := t.syncedTargets.Load(name); synced {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := t.createTargetList(); err != nil {
		return err
	}
	if err := createEmpty(file); err != nil {
		return err
	}
	// This is needed even if another process created the file, because that process may not
	// have fsynced it yet.
	if err := syncDir(filepath.Dir(file)); err != nil {
		return err
	}
	t.syncedTargets.Store(name, true)
	return nil
}

// createTargetList creates the list of targets from the open records, if it does not exist.
// It takes no lock. The list gets its name when it is complete, so a crash leaves no
// incomplete list. If two processes create it, the first one's stays.
func (t *Tracker) createTargetList() error {
	list := filepath.Join(t.path, targetsDir)
	if _, err := os.Stat(list); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := t.targetsOfOpenFiles(context.Background())
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(t.path, "."+targetsDir+"-*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := createEmpty(filepath.Join(temporary, name)); err != nil {
			return errors.Join(err, os.RemoveAll(temporary))
		}
	}
	err = syncDir(temporary)
	if err == nil {
		err = os.Rename(temporary, list)
	}
	if err != nil {
		err = errors.Join(err, os.RemoveAll(temporary))
		if _, statErr := os.Stat(list); statErr != nil {
			return err
		}
	}
	return syncDir(t.path)
}

// createEmpty creates an empty file if it does not exist.
func createEmpty(file string) error {
	created, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return created.Close()
}
