package activities

import (
	"context"
	"errors"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/sync/singleflight"

	"genesys-fanout/event"
)

// Messages reads the message of a run. It is used if the message is too large for the inputs of
// activities. Temporal then stores it only once, in the first event of the run's history.
// history.Reader implements it.
type Messages interface {
	Message(ctx context.Context, workflowID, runID string) (event.Message, error)
}

// errNoMessage is the error of an activity whose run was started without a message.
var errNoMessage = errors.New("the run was started without a message body, so there is nothing to send")

// cachedMessages is how many messages the cache keeps. The largest message has 1 MiB, so
// this is also the most that the cache takes, in MiB.
const cachedMessages = 16

// messageCache keeps the messages that were read last, because all targets that fail ask
// for the same message at about the same time.
type messageCache struct {
	source Messages
	reads  singleflight.Group
	cache  *expirable.LRU[string, event.Message]
}

func newMessageCache(source Messages) *messageCache {
	return &messageCache{source: source, cache: expirable.NewLRU[string, event.Message](cachedMessages, nil, 0)}
}

// complete returns the message of an activity. carried is the part that the activity's input
// carries; complete reads the missing event or body from the run's history.
func (c *messageCache) complete(ctx context.Context, carried event.Message, workflowID, runID string) (event.Message, error) {
	if carried.Event.ID != "" && len(carried.Body) > 0 {
		return carried, nil
	}
	stored, err := c.read(ctx, workflowID, runID)
	if err != nil {
		return event.Message{}, err
	}
	if carried.Event.ID == "" {
		carried.Event = stored.Event
	}
	if len(carried.Body) == 0 {
		carried.Body = stored.Body
	}
	return carried, nil
}

func (c *messageCache) read(ctx context.Context, workflowID, runID string) (event.Message, error) {
	if message, ok := c.cache.Get(runID); ok {
		return message, nil
	}
	message, err, _ := c.reads.Do(runID, func() (any, error) {
		message, err := c.source.Message(ctx, workflowID, runID)
		if err == nil {
			c.cache.Add(runID, message)
		}
		return message, err
	})
	if err != nil {
		return event.Message{}, err
	}
	return message.(event.Message), nil
}
