package deadletter

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"time"

	"genesys-fanout/event"
)

// Filter chooses records. A field that is zero matches every record.
type Filter struct {
	Target        string
	Type          string // a pattern: * matches any characters, ? one, and all else itself
	Reason        event.Reason
	EventID       string
	InteractionID string
	Since         time.Time // given up then or later
	Until         time.Time // given up before
}

// Match reports whether the filter chooses a record.
func (f Filter) Match(r Record) bool {
	return (f.Target == "" || f.Target == r.TargetName) &&
		(f.Type == "" || matchPattern([]rune(f.Type), []rune(r.EventType))) &&
		(f.Reason == "" || f.Reason == r.Reason) &&
		(f.EventID == "" || r.hasWord(r.EventID, f.EventID)) &&
		(f.InteractionID == "" || r.hasWord(r.InteractionID, f.InteractionID)) &&
		(f.Since.IsZero() || !r.Timestamp.Before(f.Since)) &&
		(f.Until.IsZero() || r.Timestamp.Before(f.Until))
}

// hasWord reports whether a word of the record (an id, for example) is the wanted one. In
// the record of a message that Temporal rejected, long words are cut.
func (r *Record) hasWord(word, wanted string) bool {
	mayBeCut := r.TargetName == event.OversizeTarget || r.TargetName == event.ConflictTarget
	return word == wanted || mayBeCut && word == event.Cut(wanted)
}

// WithoutFailure returns the filter without reason and time, because those change if the same
// delivery fails again.
func (f Filter) WithoutFailure() Filter {
	f.Reason, f.Since, f.Until = "", time.Time{}, time.Time{}
	return f
}

// matchPattern reports whether a text matches a pattern. It lets each * match as few
// characters as possible. On a mismatch, only the last * is extended: an earlier one has
// already matched the fewest characters, so extending it cannot help.
func matchPattern(pattern, text []rune) bool {
	p, t := 0, 0
	star, end := -1, 0 // the last *, and where the characters that it matches end
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, end = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			end++
			p, t = star+1, end
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Select yields the open records that the filter chooses, as All does: in no order, with one
// at a time in memory. Each damaged file of the filter's target yields its *DamagedError,
// because its other fields are unknown. If the filter has an EventID, Select reads only the
// records of that event.
func (t *Tracker) Select(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	if f.EventID != "" {
		return t.selectEvent(ctx, f)
	}
	var targets []string
	if f.Target != "" {
		targets = append(targets, f.Target)
	}
	return func(yield func(Record, error) bool) {
		for record, err := range t.All(ctx, targets...) {
			if (err != nil || f.Match(record)) && !yield(record, err) {
				return
			}
		}
	}
}

func (t *Tracker) selectEvent(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		targets, err := t.OpenTargets(ctx, f.EventID)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, target := range targets {
			if f.Target != "" && f.Target != target {
				continue
			}
			record, err := t.Get(target, f.EventID)
			if errors.Is(err, fs.ErrNotExist) {
				continue // closed since
			}
			if (err != nil || f.Match(record)) && !yield(record, err) {
				return
			}
		}
	}
}
