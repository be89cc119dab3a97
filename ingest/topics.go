package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// lookTimeout is how long a broker may take to say which topics there are. It is
// asked again with the next reminder.
const lookTimeout = 5 * time.Second

// absence reminds of topics that do not exist while others are consumed.
// librdkafka tells of one once, by its text alone, and never that it is there: so
// from then on the brokers are asked.
//
// All but the question itself runs on the goroutine that polls.
type absence struct {
	log   *slog.Logger
	every time.Duration
	ask   func(context.Context) (missing []string, err error)

	since   time.Time // zero: nothing is known to be missing
	looked  time.Time
	looking sync.WaitGroup
	answers chan answer // nil while nothing was asked
}

type answer struct {
	missing []string
	err     error
}

// suspect says that a topic does not exist, which was logged.
func (a *absence) suspect() {
	if a.since.IsZero() {
		a.since = time.Now()
		a.looked = a.since
	}
}

// remind is called now and then; it asks and logs in its own time, and waits for
// nothing.
func (a *absence) remind(ctx context.Context) {
	if a.since.IsZero() {
		return
	}
	select {
	case found := <-a.answers:
		a.answers = nil
		a.note(found)
	default:
	}
	if a.since.IsZero() || a.answers != nil || time.Since(a.looked) < a.every {
		return
	}
	a.looked = time.Now()
	answers := make(chan answer, 1)
	a.answers = answers
	a.looking.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		missing, err := a.ask(ctx)
		answers <- answer{missing, err}
	})
}

func (a *absence) note(found answer) {
	switch {
	case found.err != nil: // brokers that do not answer are reported elsewhere
	case len(found.missing) == 0:
		a.log.Info("every topic is there", "after", time.Since(a.since).Round(time.Second))
		a.since = time.Time{}
	default:
		a.log.Warn("waiting for a topic", "missing", strings.Join(found.missing, ","),
			"for", time.Since(a.since).Round(time.Second), "cure", topicCure)
	}
}

const topicCure = "create the topic or correct KAFKA_TOPIC"

// missingTopics asks the brokers which of the topics they do not know.
func missingTopics(ctx context.Context, c *kafka.Consumer, topics []string) ([]string, error) {
	admin, err := kafka.NewAdminClientFromConsumer(c)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	described, err := admin.DescribeTopics(ctx, kafka.NewTopicCollectionOfTopicNames(topics))
	if err != nil {
		return nil, fmt.Errorf("ask which topics there are: %w", err)
	}
	var missing []string
	for _, topic := range described.TopicDescriptions {
		switch topic.Error.Code() {
		case kafka.ErrUnknownTopicOrPart, kafka.ErrUnknownTopic:
			missing = append(missing, topic.Name)
		}
	}
	return missing, nil
}
