package devstack

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// account is a user of the broker.
type account struct{ name, password string }

// superuser is the user as which this package connects to a broker with KafkaOptions.ACLs.
const superuser = "admin"

// users returns the broker's users. The first one has all rights, and this package connects as it.
func (k *Kafka) users() []account {
	user := account{k.options.Username, k.Password()}
	if !k.options.ACLs {
		return []account{user}
	}
	return []account{{superuser, k.adminPassword}, user}
}

// scramIterations is the smallest number of iterations that Kafka accepts.
const scramIterations = 4096

// SetPassword changes the user's password. The broker then rejects the old password and breaks all
// connections that were made with it.
func (k *Kafka) SetPassword(ctx context.Context, password string) error {
	admin, err := k.admin()
	if err != nil {
		return err
	}
	var changes []kadm.UpsertSCRAM
	for _, u := range k.users() {
		if u.name == k.options.Username {
			u.password = password
		}
		changes = append(changes, kadm.UpsertSCRAM{User: u.name, Mechanism: kadm.ScramSha512, Iterations: scramIterations, Password: u.password})
	}
	changed, err := admin.AlterUserSCRAMs(ctx, nil, changes)
	if err == nil {
		err = changed.Error()
	}
	if err != nil {
		return fmt.Errorf("change the password of %s: %w", k.options.Username, err)
	}
	k.mu.Lock()
	old := k.client
	k.client, k.password = nil, password
	k.mu.Unlock()
	old.Close()
	if err := k.broker.disconnect(ctx, k.users()[0].password); err != nil {
		return err
	}
	return k.ping(ctx)
}

// newACLs returns a builder of rules whose names of topics and groups are literal.
func newACLs() *kadm.ACLBuilder {
	return kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral)
}

// principal is the user in ACLs.
func (k *Kafka) principal() string { return "User:" + k.options.Username }

// allowEverything gives the user all rights on all topics and groups. A rule that denies a right
// overrules it.
func (k *Kafka) allowEverything(ctx context.Context) error {
	return k.createACLs(ctx, newACLs().Topics("*").Groups("*").Operations(kadm.OpAll).Allow(k.principal()).AllowHosts("*"))
}

// DenyRead removes the user's right to read a topic. The user may still describe the topic. It needs
// KafkaOptions.ACLs.
func (k *Kafka) DenyRead(ctx context.Context, topic string) error {
	return k.createACLs(ctx, k.denyRead(topic))
}

func (k *Kafka) denyRead(topic string) *kadm.ACLBuilder {
	return newACLs().Topics(topic).Operations(kadm.OpRead).Deny(k.principal()).DenyHosts("*")
}

func (k *Kafka) createACLs(ctx context.Context, rules *kadm.ACLBuilder) error {
	admin, err := k.admin()
	if err != nil {
		return err
	}
	created, err := admin.CreateACLs(ctx, rules)
	if err != nil {
		return fmt.Errorf("create ACLs: %w", err)
	}
	for _, result := range created {
		if result.Err != nil {
			return fmt.Errorf("create an ACL for %s: %w", result.Name, result.Err)
		}
	}
	return nil
}

// AllowRead removes the rule that DenyRead made for a topic.
func (k *Kafka) AllowRead(ctx context.Context, topic string) error {
	admin, err := k.admin()
	if err != nil {
		return err
	}
	deleted, err := admin.DeleteACLs(ctx, k.denyRead(topic))
	if err != nil {
		return fmt.Errorf("delete ACLs: %w", err)
	}
	for _, result := range deleted {
		if result.Err != nil {
			return fmt.Errorf("delete the ACL for %s: %w", topic, result.Err)
		}
	}
	return nil
}
