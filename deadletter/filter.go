package deadletter

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"time"

	"genesys-fanout/event"
)

// Filter chooses among records. What is zero chooses all.
type Filter struct {
	Target        string
	Type          string // a pattern: * is any run of characters, ? one, all else itself
	Reason        event.Reason
	EventID       string
	InteractionID string
	Since         time.Time // given up then or later
	Until         time.Time // given up before
}

// Match tells whether the filter chooses a record.
func (f Filter) Match(r Record) bool {
	return (f.Target == "" || f.Target == r.TargetName) &&
		(f.Type == "" || matches([]rune(f.Type), []rune(r.EventType))) &&
		(f.Reason == "" || f.Reason == r.Reason) &&
		(f.EventID == "" || r.holds(r.EventID, f.EventID)) &&
		(f.InteractionID == "" || r.holds(r.InteractionID, f.InteractionID)) &&
		(f.Since.IsZero() || !r.Timestamp.Before(f.Since)) &&
		(f.Until.IsZero() || r.Timestamp.Before(f.Until))
}

// holds reports whether a word of the record is the wanted one. The words of a
// message that Temporal refused may be cut.
func (r *Record) holds(word, wanted string) bool {
	mayBeCut := r.TargetName == event.OversizeTarget || r.TargetName == event.ConflictTarget
	return word == wanted || mayBeCut && word == event.Cut(wanted)
}

// WithoutFailure is the filter without what another failure of the same delivery may
// change: its reason and its time.
func (f Filter) WithoutFailure() Filter {
	f.Reason, f.Since, f.Until = "", time.Time{}, time.Time{}
	return f
}

// matches compares a text with a pattern. After a * it tries the shortest run
// first, and only the last * has to be tried again: what an earlier one took was
// the shortest that fits.
func matches(pattern, text []rune) bool {
	p, t := 0, 0
	star, taken := -1, 0 // the last *, and where the text goes on behind its run
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, taken = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			taken++
			p, t = star+1, taken
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Select yields the open records that the filter chooses, as All does: one in
// memory at a time, in no order, and each damaged file of the filter's target as
// its *DamagedError, as what it held cannot be told. For one event it takes no
// pass over the records.
func (d *Directory) Select(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	if f.EventID != "" {
		return d.selectEvent(ctx, f)
	}
	var targets []string
	if f.Target != "" {
		targets = append(targets, f.Target)
	}
	return func(yield func(Record, error) bool) {
		for record, err := range d.All(ctx, targets...) {
			if (err != nil || f.Match(record)) && !yield(record, err) {
				return
			}
		}
	}
}

func (d *Directory) selectEvent(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		targets, err := d.OpenTargets(ctx, f.EventID)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, target := range targets {
			if f.Target != "" && f.Target != target {
				continue
			}
			record, err := d.Get(target, f.EventID)
			if errors.Is(err, fs.ErrNotExist) {
				continue // resolved since
			}
			if (err != nil || f.Match(record)) && !yield(record, err) {
				return
			}
		}
	}
}
