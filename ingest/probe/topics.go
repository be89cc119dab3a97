package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/ingest"
)

// Topic is the state of a topic.
type Topic struct {
	Name       string
	Err        error // kafka.Error: why it cannot be read
	Partitions int
	Leaderless int // partitions without a leader
	// ReadNotAllowed means that the brokers listed the operations that are allowed on the
	// topic, and reading is not among them.
	ReadNotAllowed bool
}

// Missing reports whether the topic does not exist.
func (t Topic) Missing() bool { return ingest.IsUnknownTopic(t.Err) }

// Topics returns the state of topics.
func (p *Probe) Topics(ctx context.Context, names []string) (topics []Topic, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		described, err := p.admin.DescribeTopics(ctx, kafka.NewTopicCollectionOfTopicNames(names), kafka.SetAdminOptionIncludeAuthorizedOperations(true))
		if err != nil {
			return err
		}
		for _, d := range described.TopicDescriptions {
			topic := Topic{Name: d.Name, Partitions: len(d.Partitions), ReadNotAllowed: ingest.ReadNotAllowed(d.AuthorizedOperations)}
			if d.Error.Code() != kafka.ErrNoError {
				topic.Err = d.Error
			}
			for _, partition := range d.Partitions {
				if partition.Leader == nil || partition.Leader.ID < 0 {
					topic.Leaderless++
				}
			}
			topics = append(topics, topic)
		}
		return nil
	})
	return topics, err
}

// Forever is the retention of a topic that drops no message because of its age.
const Forever = time.Duration(-1)

// Retention returns how long a topic keeps messages.
func (p *Probe) Retention(ctx context.Context, topic string) (retention time.Duration, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		results, err := p.admin.DescribeConfigs(ctx, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}})
		switch {
		case err != nil:
			return err
		case len(results) == 0:
			return errors.New("the answer is empty")
		case results[0].Error.Code() != kafka.ErrNoError:
			return results[0].Error
		}
		retention, err = retentionOf(results[0].Config)
		return err
	})
	return retention, err
}

func retentionOf(config map[string]kafka.ConfigEntryResult) (time.Duration, error) {
	if policy, ok := config["cleanup.policy"]; ok && !strings.Contains(policy.Value, "delete") {
		return Forever, nil
	}
	return parseRetention(config["retention.ms"].Value)
}

func parseRetention(text string) (time.Duration, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("retention.ms is %q, which is not a number of milliseconds", text)
	case n < 0, n > math.MaxInt64/int64(time.Millisecond):
		return Forever, nil
	}
	return time.Duration(n) * time.Millisecond, nil
}
