package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/pipeline/node"
)

// patientFlags are who studies are moved to.
type patientFlags struct{ issuer, name, born, sex string }

func (f *patientFlags) register(cmd *cobra.Command, issuer string) {
	cmd.Flags().StringVar(&f.issuer, issuer, "", "issuer of the new Patient ID")
	cmd.Flags().StringVar(&f.name, "name", "", "patient's name as DICOM writes it: Family^Given")
	cmd.Flags().StringVar(&f.born, "birth-date", "", "birth date, YYYYMMDD")
	cmd.Flags().StringVar(&f.sex, "sex", "", "M, F or O")
}

// form is an order to the node.
func (f *patientFlags) form(id, reason string) url.Values {
	by := ""
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	return url.Values{"to_id": {id}, "to_issuer": {f.issuer}, "to_name": {f.name}, "to_birth_date": {f.born}, "to_sex": {f.sex}, "reason": {reason}, "by": {by}}
}

func (p *program) moveCommand() *cobra.Command {
	var c control
	var f patientFlags
	var id string
	var allPersons bool
	cmd := &cobra.Command{
		Use:   "move STUDY-UID... --patient-id ID [--name NAME] [--birth-date DATE] [--sex SEX]",
		Short: "Give studies of a running node another patient",
		Long: `Corrects whose a study is, without a second sending by the archive: every object
of it gets the patient's attributes and keeps a record of the former ones
(Original Attributes Sequence). What is not given stays as it is. The study is
analysed again, and its report supersedes the one before; results that were made
under the former patient and are not sent yet are not sent any more, and
destinations with "withdraw: note" are told which they have. What an object is
sent as later counts again: correct the archive too. The audit trail holds who
did it. Nothing is moved where one of the studies is not there; where one can't
be moved, those before it have been, the others have not, and the exit code is 3.
A study that holds objects of several persons is left alone unless --all-persons
says that all of it is this patient's.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			form := f.form(id, node.ReasonCorrect)
			form["uid"] = args
			if allPersons {
				form.Set("all_persons", "true")
			}
			return p.move(cmd, c, "/studies/move", form)
		},
	}
	c.register(cmd)
	cmd.Flags().StringVar(&id, "patient-id", "", "the Patient ID that the studies get")
	f.register(cmd, "issuer")
	cmd.Flags().BoolVar(&allPersons, "all-persons", false, "also a study that holds objects of several persons")
	return cmd
}

func (p *program) mergeCommand() *cobra.Command {
	var c control
	var f patientFlags
	var issuer string
	cmd := &cobra.Command{
		Use:   "merge OLD-ID NEW-ID",
		Short: "Merge a patient of a running node into another",
		Long: `Gives all studies of the patient with OLD-ID to the patient with NEW-ID, as
"echonode move" does with one. Name, birth date and sex are those of the newest
object of the new patient that the node holds, unless they are given here.
Studies of several persons who share the old or the new ID are left alone: where
birth date, sex or the words of the name contradict. Case, umlauts, titles, order,
initials and what is missing do not; nor does another family name alone, with the
same given name and birth date.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			form := f.form(args[1], node.ReasonCoerce)
			form.Set("id", args[0])
			form.Set("issuer", issuer)
			return p.move(cmd, c, "/patients/merge", form)
		},
	}
	c.register(cmd)
	cmd.Flags().StringVar(&issuer, "issuer", "", "issuer of the old Patient ID, where several issue the same")
	f.register(cmd, "new-issuer")
	return cmd
}

// move has a running node move studies, and says what became of each.
func (p *program) move(cmd *cobra.Command, c control, path string, form url.Values) error {
	base, err := c.base()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var moves node.Moves
	// Without a limit: all objects are written anew.
	if err := ask(&http.Client{}, req, &moves); err != nil {
		return err
	}
	for _, m := range moves.Studies {
		if m.Objects == 0 {
			fmt.Fprintf(p.out, "%s: nothing to change\n", m.Study)
			continue
		}
		fmt.Fprintf(p.out, "%s: %s, will be analysed again; %s withdrawn", m.Study, counted(m.Objects, "object moved", "objects moved"),
			counted(int(m.Unsent), "delivery", "deliveries"))
		if m.Sent > 0 {
			fmt.Fprintf(p.out, "; %s sent before", counted(m.Sent, "result was", "results were"))
		}
		fmt.Fprintln(p.out)
	}
	if moves.Error != "" {
		return partError{fmt.Errorf("done in part: %s", harmless(moves.Error))}
	}
	return nil
}
