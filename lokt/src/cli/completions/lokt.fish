# fish completion for lokt, made by `lokt completions fish`

function __lokt_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answers (command lokt __complete $words "$current" 2>/dev/null)
    set -l skip (string match -r '^command (\d+)$' -- $answers[1])[2]
    if test -n "$skip"
        # As if the guarded command stood alone.
        set -l rest $words[(math $skip + 1)..-1]
        complete -C (string join ' ' -- (string escape -- $rest) "$current")
    else if set -q answers[2]
        printf '%s\n' $answers[2..-1]
    end
end

complete -c lokt -f -k -a '(__lokt_complete)'
