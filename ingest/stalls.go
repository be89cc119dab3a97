package ingest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"genesys-fanout/internal/outage"
)

const (
	// stallPatience is how long Kafka may return nothing from a partition that has messages
	// before the partition counts as stalled. A fetch that is answered takes less than a
	// second.
	stallPatience = 5 * time.Second

	// errorRelevance is how long after an error of librdkafka a stall is blamed on it.
	errorRelevance = 30 * time.Second
)

// observeEnd compares the end of the partition with the last message that Kafka returned.
func (p *partition) observeEnd(end int64, now time.Time) {
	switch {
	case end <= p.position:
		p.behindSince = time.Time{}
	case p.behindSince.IsZero() || p.behindPosition != p.position:
		p.behindSince, p.behindPosition = now, p.position
	}
}

// stalled reports whether the partition has had messages for stallPatience that Kafka has
// not returned.
func (p *partition) stalled(now time.Time) bool {
	return !p.behindSince.IsZero() && p.behindPosition == p.position && now.Sub(p.behindSince) >= stallPatience
}

// stalledByError returns the partitions that are stalled while librdkafka reports errors.
// Those errors name no partition.
func (s *session) stalledByError(now time.Time) []*partition {
	if s.paused || s.otherErr == nil || now.Sub(s.otherErrAt) >= errorRelevance {
		return nil
	}
	var stalled []*partition
	for _, p := range s.partitions() {
		if p.stalled(now) {
			stalled = append(stalled, p)
		}
	}
	slices.SortFunc(stalled, func(a, b *partition) int { return strings.Compare(a.key.String(), b.key.String()) })
	return stalled
}

func (s *session) newStallsOutage() *outage.Outage {
	return outage.New(func(r outage.Report) {
		s.log.Warn("partitions are stalled by an error", "partitions", r.Cause, "for", r.Age, "error", r.Err, "cure", stalledCure)
	}, func(r outage.Report) { s.log.Info("every partition is read", "after", r.Age) })
}

// reportStalls logs the partitions whose messages wait because of an error, every 30 s while
// there are any.
func (s *session) reportStalls(now time.Time) {
	errs := make(map[string]error)
	for _, u := range s.unpositioned {
		if u.err != nil && now.Sub(u.since) >= stallPatience {
			errs[u.key.String()] = u.err
		}
	}
	for _, p := range s.stalledByError(now) {
		errs[fmt.Sprintf("%s@%d", p.key, p.position)] = s.otherErr
	}
	names := slices.Sorted(maps.Keys(errs))
	var first error
	if len(names) > 0 {
		first = errs[names[0]]
	}
	observeNames(s.stalls, names, " ", first)
}
