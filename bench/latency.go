package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"genesys-fanout/internal/contactcentre"
)

// latencyTime is the time for which events are published in one round.
const latencyTime = 20 * time.Second

// latency measures the time from the publication of an event to its arrival at a healthy
// target, at half of the rate that saturates the fan-out.
func latency(s setup) measure {
	return func(ctx context.Context, l *lab, round int) (figures, error) {
		if l.saturated == 0 {
			got, err := ours(setup{targets: healthyTargets(3)})(ctx, l, round)
			if err != nil {
				return nil, err
			}
			l.saturated = got[rate]
		}
		f, err := l.pipeline(ctx, s)
		if err != nil {
			return nil, err
		}
		defer f.close()
		if err := f.startWorker(ctx); err != nil {
			return nil, err
		}
		if err := f.startIngests(ctx); err != nil {
			return nil, err
		}
		perSecond := l.saturated / 2
		published, err := f.publishAt(ctx, perSecond, l.messages(int(perSecond*latencyTime.Seconds()), kilobyte))
		if err != nil {
			return nil, err
		}
		if err := f.waitDelivered(ctx, len(published)); err != nil {
			return nil, err
		}
		var ages []float64
		for _, t := range f.healthyTargets() {
			for _, r := range t.Requests() {
				ages = append(ages, float64(r.Time.Sub(published[r.EventID]).Microseconds())/1000)
			}
		}
		slices.Sort(ages)
		return figures{"published/s": perSecond, p50: percentile(ages, 50), p99: percentile(ages, 99)}, nil
	}
}

// publishAt publishes events at a constant rate and returns the time of each by event
// id.
func (f *pipeline) publishAt(ctx context.Context, perSecond float64, events []contactcentre.Event) (map[string]time.Time, error) {
	published := make(map[string]time.Time, len(events))
	began := time.Now()
	for i := range events {
		due := began.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		published[events[i].ID] = time.Now()
		if err := f.publish(ctx, events[i:i+1]); err != nil {
			return nil, err
		}
	}
	if late := time.Since(began) - latencyTime; late > latencyTime/4 {
		return nil, fmt.Errorf("this machine is too slow to publish %.0f events/s, so the latency means nothing; end other load on it", perSecond)
	}
	return published, nil
}

// percentile returns the p-th percentile of sorted values by the nearest-rank method.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// median returns the median of values in any order.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
