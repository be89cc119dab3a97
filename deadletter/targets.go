package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"genesys-fanout/event"
)

// targetsDir lists the targets that ever had a record, as empty files: what is
// open for an event is found by a stat for each of them, and not by a pass over
// all records.
const targetsDir = "targets"

// Targets returns the names of the targets that ever had a record, sorted. A
// target keeps its name there after its last record is closed.
func (d *Directory) Targets(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, targetsDir))
	if errors.Is(err, fs.ErrNotExist) { // no worker of this version has opened it yet
		return d.targetsOfFiles(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("list the targets of the tracker: %w", d.explain(err))
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, d.present()
}

// targetsOfFiles finds the targets by a pass over the open records.
func (d *Directory) targetsOfFiles(ctx context.Context) ([]string, error) {
	names := make(map[string]bool)
	for name, err := range d.files(ctx) {
		if err != nil {
			return nil, err
		}
		if target, ok := targetOf(name); ok {
			names[target] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// OpenTargets returns the targets for which an event has an open record, sorted.
// A damaged record counts. The named targets are looked at even if they are
// missing in the list of targets, as after a restore from a backup.
func (d *Directory) OpenTargets(ctx context.Context, eventID string, named ...string) ([]string, error) {
	names, err := d.Targets(ctx)
	if err != nil {
		return nil, err
	}
	names = slices.Concat(names, named)
	slices.Sort(names)
	var open []string
	for _, target := range slices.Compact(names) {
		_, err := os.Stat(d.File(target, eventID))
		if err == nil {
			open = append(open, target)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look for dead letters: %w", d.explain(err))
		}
	}
	return open, d.present()
}

// nameOfTarget matches the names that targets.yaml allows.
var nameOfTarget = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// targetOf returns the target in the name of a record's file. ok is false for a
// file that no record of a target can have; a name comes from us alone, never
// from a message.
func targetOf(file string) (target string, ok bool) {
	for _, reserved := range event.ReservedTargets() { // the only ones with an underscore
		if strings.HasPrefix(file, reserved+"_") {
			return reserved, true
		}
	}
	target, _, found := strings.Cut(file, "_")
	return target, found && nameOfTarget.MatchString(target)
}

// remember puts a target into the list before its first record gets its name, so
// that no record is missed by OpenTargets, also after a crash.
func (d *Directory) remember(target string) error {
	name := event.EscapeFileName(target)
	file := filepath.Join(d.path, targetsDir, name)
	_, err := os.Stat(file)
	if err == nil {
		if _, synced := d.listed.Load(name); synced {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.listTargets(); err != nil {
		return err
	}
	if err := touch(file); err != nil {
		return err
	}
	// Also if another process made the file: it may not have come to its sync.
	if err := syncDir(filepath.Dir(file)); err != nil {
		return err
	}
	d.listed.Store(name, true)
	return nil
}

// listTargets makes the list of targets if there is none, from a pass over the
// open records. It takes no lock. The list gets its name when it is complete, so
// a crash leaves none; if two processes make it, the first one's stays.
func (d *Directory) listTargets() error {
	list := filepath.Join(d.path, targetsDir)
	if _, err := os.Stat(list); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := d.targetsOfFiles(context.Background())
	if err != nil {
		return err
	}
	unnamed, err := os.MkdirTemp(d.path, "."+targetsDir+"-*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := touch(filepath.Join(unnamed, name)); err != nil {
			return errors.Join(err, os.RemoveAll(unnamed))
		}
	}
	err = syncDir(unnamed)
	if err == nil {
		err = os.Rename(unnamed, list)
	}
	if err != nil {
		err = errors.Join(err, os.RemoveAll(unnamed))
		if _, statErr := os.Stat(list); statErr != nil {
			return err
		}
	}
	return syncDir(d.path)
}

// touch makes an empty file if there is none.
func touch(file string) error {
	made, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return made.Close()
}
