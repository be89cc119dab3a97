package audit

import "time"

const (
	// silenceLimit is how long a process may be silent until it counts as killed. A process that
	// Temporal hears within this time sends nothing twice.
	silenceLimit = 20 * time.Second

	// durableWithin is how long the outcome of a request may take to become durable while nothing is
	// disturbed: the slowest first attempt of a run takes up to 7 s, and then Temporal accepts the
	// workflow task.
	durableWithin = 10 * time.Second

	// recoveredWithin is how long a run may take to find out an outcome that Temporal has not got: the
	// lost task times out after at most 35 s (the target's timeout and DeliverOverhead), and the
	// question to the process takes up to 20 s.
	recoveredWithin = time.Minute
)

// causeOf returns why an event may have been delivered a second time: the cause that explains that
// the outcome of the first delivery was lost. A process that was killed long after the answer, or
// another process, explains nothing.
func (j *judge) causeOf(first, second Request) (Cause, bool) {
	for _, x := range j.facts.Disturbances {
		if j.explains(x, first, second) {
			return x.Cause, true
		}
	}
	if timeout := j.targets[first.Target].Timeout; timeout > 0 && first.Answered.Sub(first.At) >= timeout-clockSlack/4 {
		return TooLate, true
	}
	return "", false
}

func (j *judge) explains(x Disturbance, first, second Request) bool {
	isOf := func(process, target, eventID string) bool {
		return (x.Process == "" || x.Process == process) && (x.Target == "" || x.Target == target) && (x.EventID == "" || x.EventID == eventID)
	}
	if !isOf(first.Sender, first.Target, first.EventID) || x.From.After(second.At) {
		return false
	}
	givesUp := first.Answered.Add(j.targets[first.Target].Timeout)
	switch x.Cause {
	case Killed:
		return !x.From.Before(first.At) && !x.From.After(j.durableBy(first, x.From))
	case Stopped:
		return !x.From.Before(first.At) && j.disturbed(first, x.From) > 0 && !x.From.After(j.durableBy(first, x.From))
	case Paused:
		if !x.From.After(givesUp) && !x.To.Before(first.At) {
			return true // the request timed out meanwhile
		}
		return x.To.Sub(x.From) >= silenceLimit && !x.To.Before(first.At) && !x.From.After(j.durableBy(first, x.From))
	case CutOff:
		return x.To.Sub(x.From) >= silenceLimit && !x.To.Before(first.At) && !x.From.After(j.durableBy(first, x.From))
	case TargetNetwork:
		return !x.To.Before(first.At) && !x.From.After(givesUp)
	case TemporalRestored:
		return first.Answered.After(x.From.Add(-durableWithin)) && first.At.Before(x.To) && second.At.After(x.To)
	case ResetOfOpenRun, ActivityReset:
		return !x.From.Before(first.At)
	}
	return false
}

// durableBy returns by when the outcome of a request must have been durable: durableWithin after the
// answer. If Temporal was away until then, or the process was paused or cut off, it is later by as long
// as that, and by the time in which the run finds the outcome out.
func (j *judge) durableBy(first Request, until time.Time) time.Time {
	by := first.Answered.Add(durableWithin)
	if away := j.disturbed(first, until); away > 0 {
		by = by.Add(away + recoveredWithin)
	}
	return by
}

// disturbed returns for how long Temporal was away from a request until then, or its process was
// paused or cut off.
func (j *judge) disturbed(first Request, until time.Time) (all time.Duration) {
	for _, x := range j.facts.Disturbances {
		switch x.Cause {
		case TemporalAway:
		case Paused, CutOff:
			if x.Process != first.Sender {
				continue
			}
		default:
			continue
		}
		all += overlap(x.From, x.To, first.At, until)
	}
	return all
}

// overlap returns for how long two spans overlap.
func overlap(from, to, otherFrom, otherTo time.Time) time.Duration {
	if otherFrom.After(from) {
		from = otherFrom
	}
	if otherTo.Before(to) {
		to = otherTo
	}
	return max(0, to.Sub(from))
}
