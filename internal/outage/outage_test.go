package outage_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"genesys-fanout/internal/outage"
)

var errAway = errors.New("no answer")

// recorded returns an Outage, and what it has reported.
func recorded() (*outage.Outage, *[]string) {
	var lines []string
	return outage.New(
		func(r outage.Report) {
			lines = append(lines, fmt.Sprintf("away for %s, %d waiting: %v", r.Age, r.Waiting, r.Err))
		},
		func(r outage.Report) { lines = append(lines, fmt.Sprintf("back after %s: %v", r.Age, r.Err)) },
	), &lines
}

func TestReportsTheBeginningEvery30SecondsAndTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, lines := recorded()
		o.Observe(nil) // nothing has begun
		for range 61 {
			o.Observe(errAway)
			time.Sleep(time.Second)
		}
		o.Observe(nil)
		o.Observe(nil)
		assert.Equal(t, []string{
			"away for 0s, 1 waiting: no answer", "away for 30s, 1 waiting: no answer", "away for 1m0s, 1 waiting: no answer",
			"back after 1m1s: <nil>",
		}, *lines)

		o.Observe(errAway)
		assert.Equal(t, "away for 0s, 1 waiting: no answer", (*lines)[4], "a second outage is a new one")
	})
}

func TestAnOutageShorterThanTheDelayIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, lines := recorded()
		o.Delay = 5 * time.Second
		for range 5 {
			o.Observe(errAway)
			time.Sleep(time.Second)
		}
		o.Observe(nil)
		assert.Empty(t, *lines)
		for range 7 {
			o.Observe(errAway)
			time.Sleep(time.Second)
		}
		o.Observe(nil)
		assert.Equal(t, []string{"away for 5s, 1 waiting: no answer", "back after 7s: <nil>"}, *lines)
	})
}

func TestAnotherCauseIsReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, lines := recorded()
		o.ObserveCause("a", errors.New("a is missing"))
		time.Sleep(time.Second)
		o.ObserveCause("a", errors.New("a is missing"))
		o.ObserveCause("a,b", errors.New("a and b are missing"))
		assert.Equal(t, []string{"away for 0s, 1 waiting: a is missing", "away for 1s, 1 waiting: a and b are missing"}, *lines)
	})
}

func TestAReportNamesItsCause(t *testing.T) {
	var causes []string
	record := func(r outage.Report) { causes = append(causes, r.Cause) }
	o := outage.New(record, record)
	o.ObserveCause("a", errAway)
	o.ObserveCause("a,b", errAway)
	o.ObserveCause("", nil)
	assert.Equal(t, []string{"a", "a,b", "a,b"}, causes, "the end has the last cause")
}

func TestWaitersShareOneOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, lines := recorded()
		first, second, third := o.Waiter(), o.Waiter(), o.Waiter()
		first.Failed(errAway)
		time.Sleep(10 * time.Second)
		second.Failed(errAway)
		time.Sleep(20 * time.Second)
		second.Failed(errAway)
		assert.True(t, first.Waiting())
		first.Done(nil)
		assert.False(t, first.Waiting())
		third.Done(nil) // it never failed, so it ends nothing
		second.Done(nil)
		second.Done(nil)
		assert.Equal(t, []string{
			"away for 0s, 1 waiting: no answer", "away for 30s, 2 waiting: no answer", "back after 30s: <nil>",
		}, *lines)
	})
}

func TestTheLastWaiterMayGiveUp(t *testing.T) {
	o, lines := recorded()
	w := o.Waiter()
	w.Failed(errAway)
	w.Done(errors.New("the session has ended"))
	assert.Equal(t, []string{"away for 0s, 1 waiting: no answer", "back after 0s: the session has ended"}, *lines)
}
